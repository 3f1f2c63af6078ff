"""The reference of `lib`, written from docstrings that are plain text."""

import ast

from companion import paths, reference

SOURCE = '''
class Net:
    """A *small* net.

    f = W x + b,  W[a, b] >= 0,

    Args:
        width: m_l, (*batch);  bias: b,
            or none.

    >>> Net(1)  # doctest: +ELLIPSIS
    Net(...)
    """
    width: int
    bias: float = 0.0

    @property
    def size(self) -> int:
        """Its $size$."""

    def at(self, x: int = 1) -> int:
        """The value."""
'''


def test_a_class_with_its_fields_formula_arguments_methods_and_example() -> None:
    (node,) = ast.parse(SOURCE).body
    text = reference.entry("lib.room", "Net", node)
    assert text.startswith("::::{py:class} lib.room.Net(width, bias=0.0)\nA \\*small\\* net.")
    assert "```text\nf = W x + b,  W[a, b] >= 0,\n```" in text
    assert "- `width`: m\\_l, (\\*batch)\n- `bias`: b,\n  or none." in text
    assert "```python\n>>> Net(1)\nNet(...)\n```" in text
    assert "- `size`: Its \\$size\\$.\n- `at(x=1)`: The value." in text


def test_every_public_name_has_a_place() -> None:
    rooms = reference.rooms(paths.root())
    for room in rooms:
        tree = ast.parse((paths.root() / room.name.replace(".", "/") / "__init__.py").read_text())
        offered = next(
            ast.literal_eval(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
        )
        text = reference.page(room)
        assert all(f" {room.name}.{name}" in text for name in offered), room.name
    assert len(rooms) > 10
