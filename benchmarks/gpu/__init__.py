"""All that needs a GPU, in one command that stops cleanly and goes on where it stopped."""
