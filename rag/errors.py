"""Every error a person can meet; each message is one sentence or two and ends with what to do next."""


class FootnoteError(Exception):
    """Report something the person can act on; the page and the command line show it as it is."""


class BadFile(FootnoteError):
    """A file or folder that cannot become a post."""


class BadAddress(FootnoteError):
    """An address that cannot be fetched, or must not be."""


class Gone(BadAddress):
    """An address at which there is nothing any more."""


class BadQuestion(FootnoteError):
    """A question that cannot be searched for."""


class Busy(FootnoteError):
    """Something that must wait until what is going on has ended."""


class NotFound(FootnoteError):
    """An id that names nothing in the library."""


class ModelError(FootnoteError):
    """A model that is missing, damaged or not what it claims to be."""


class Unreachable(ModelError):
    """A place that models come from and that does not answer now."""


class StoreError(FootnoteError):
    """Trouble with the data on disk: full, locked, damaged or unreadable."""


class BadSetting(FootnoteError):
    """A FOOTNOTE_ variable whose value cannot be used."""


def first_line(error: object) -> str:
    """Return the first line of what an error says, cut to a readable length; its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
