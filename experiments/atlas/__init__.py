"""What the chapter on certified landscapes measures."""
