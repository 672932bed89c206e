"""How templates are read and filled, whatever document they make."""

from importlib.resources import files

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment(*loaders: BaseLoader) -> Environment:
    """Templates of this package and, before them, of ``loaders``: what is not marked as safe is escaped."""
    return Environment(
        loader=ChoiceLoader([*loaders, PackageLoader("crucible.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(*names: str) -> Markup:
    """The files of these names beside the templates, one after the other, to be put in as they are."""
    folder = files("crucible.report") / "templates"
    # What is marked as safe is a file of our own.
    return Markup("".join((folder / name).read_text("utf-8") for name in names))  # noqa: S704
