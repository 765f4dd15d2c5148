"""Everything curate raises for a person to read.

CurateError                    exit 1
├── ConfigError                curate.toml or an option is wrong
├── WorkspaceError             no workspace, not writable, or held by another command
├── SourceError                a folder or recipe cannot be read, or holds nothing usable
├── SchemaError                a table does not look as tables.py says
├── AssetError                 a model file is missing or has the wrong sha256
├── DataError                  there is not enough of the right data to go on
├── MissingExtra               an optional dependency is not installed
├── ServiceError               mongod or the FiftyOne App did not start
└── GateRefused                a challenger not promoted, a certificate not issued (exit 3)
"""

import importlib.util


class CurateError(Exception):
    """An error meant to be read: what is wrong, where, and the next step."""

    exit_code = 1


class ConfigError(CurateError):
    """curate.toml or an option holds something we do not understand."""


class WorkspaceError(CurateError):
    """The workspace is absent, unwritable, or held by another command."""


class SourceError(CurateError):
    """A source or recipe is missing, unreadable, or holds nothing usable."""


class SchemaError(CurateError):
    """A frame or table does not match tables.py."""


class AssetError(CurateError):
    """A model file is missing, could not be had, or is not the file we expect."""


class DataError(CurateError):
    """The catalogue does not hold enough of the right images or labels."""


class MissingExtra(CurateError):
    """A module of an extra is not installed."""


class ServiceError(CurateError):
    """A service that we start ourselves did not come up."""


class GateRefused(CurateError):
    """A challenger was not promoted, or a certificate could not be issued."""

    exit_code = 3


def require(*modules: str, extra: str = "all") -> None:
    """Check that ``modules`` are installed, without importing them, or say which pip line helps.

    Raises:
        MissingExtra: one of them is not.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(
                f"this needs the Python module {module!r}, which is not installed.\n"
                f"Next: pip install 'curate[{extra}]'  (in a checkout: pip install -e '.[{extra}]')"
            )
