"""A chapter is no module with examples: tests/companion/test_templates.py builds it."""

collect_ignore = ["chapter.py"]
