"""Notebooks are no modules with examples: tests build and run them."""

collect_ignore = ["chapter.py", "own_net.py"]
