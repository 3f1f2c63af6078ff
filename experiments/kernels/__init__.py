"""Chapter 06: what is measured live: errors of the activations, and times as sizes grow."""
