"""Documents as they come from a bus, checked: what the assembler reads of each, and no more."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Self, TypeAlias

import event_model
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)


class Document(BaseModel):
    """A document of a run; what is not named here is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Uid: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024)]
Mapped: TypeAlias = Annotated[dict[str, Any], BeforeValidator(lambda value: value or {})]


class Start(Document):
    """A run begins."""

    uid: Uid
    time: float
    scan_id: Any = None


class Descriptor(Document):
    """A stream of a run, and the configuration under which its next events are measured."""

    uid: Uid
    run_start: Uid
    name: str = "primary"
    time: float = 0.0
    data_keys: dict[str, dict[str, Any]]
    configuration: Mapped = {}
    object_keys: Mapped = {}
    hints: Mapped = {}


class Event(Document):
    """One reading of a stream."""

    descriptor: Uid
    seq_num: int = Field(ge=1)
    time: float
    data: dict[str, Any]
    filled: Mapped = {}


class StreamResource(Document):
    """A file that holds one data key of a stream.

    ``run_start`` is optional in event-model; the RunEngine and Tiled always write it. Before
    event-model 1.21 a file was named by ``spec``, ``root`` and ``resource_path``, as in
    `Resource`; then ``uri`` is empty.
    """

    uid: Uid
    run_start: Uid
    data_key: str
    mimetype: str = ""
    uri: str = ""
    parameters: Mapped = {}
    spec: str = ""
    root: str = ""
    resource_path: str = ""
    resource_kwargs: Mapped = {}

    @model_validator(mode="before")
    @classmethod
    def _named_in_its_keywords(cls, data: Any) -> Any:
        """Take the data key from ``resource_kwargs``, where the first of ophyd-async put it."""
        if not isinstance(data, Mapping) or "data_key" in data:
            return data
        keywords = data.get("resource_kwargs")
        name = keywords.get("name") if isinstance(keywords, Mapping) else None
        return data if name is None else {**data, "data_key": name}

    @model_validator(mode="after")
    def _names_a_file(self) -> Self:
        if not (self.uri and self.mimetype) and not (self.spec and self.resource_path):
            raise ValueError("found neither uri and mimetype nor spec and resource_path")
        return self


class Span(Document):
    """Whole numbers from ``start`` up to, not with, ``stop``."""

    start: int = Field(ge=0)
    stop: int = Field(ge=0)


class StreamDatum(Document):
    """Where in a file some readings of a stream lie."""

    stream_resource: Uid
    descriptor: Uid
    indices: Span
    seq_nums: Span


class Resource(Document):
    """A file in the older form, before ``stream_resource``."""

    uid: Uid
    run_start: Uid
    spec: str
    root: str = ""
    resource_path: str
    resource_kwargs: Mapped = {}


class Datum(Document):
    """One reading in a file in the older form: events name it by its ``datum_id``."""

    datum_id: Uid
    resource: Uid
    datum_kwargs: Mapped = {}


class Stop(Document):
    """A run ends."""

    run_start: Uid
    time: float = 0.0
    exit_status: str = "success"
    num_events: Mapped = {}


class DocumentError(ValueError):
    """A document that does not have the form of its name."""


_MODELS: dict[str, type[Document]] = {
    "start": Start,
    "descriptor": Descriptor,
    "event": Event,
    "stream_resource": StreamResource,
    "stream_datum": StreamDatum,
    "resource": Resource,
    "datum": Datum,
    "stop": Stop,
}
_PAGES: dict[str, tuple[str, Callable[[Any], Iterator[Any]]]] = {
    "event_page": ("event", event_model.unpack_event_page),
    "datum_page": ("datum", event_model.unpack_datum_page),
}


def parse(name: str, doc: Mapping[str, Any]) -> list[Document]:
    """Return the documents in one message, pages taken apart.

    Raises
    ------
    DocumentError
        When the name is unknown, or the document lacks what its name promises.
    """
    single, unpack = _PAGES.get(name, (name, lambda doc: iter((doc,))))
    model = _MODELS.get(single)
    if model is None:
        raise DocumentError(f"unknown document name {name!r}")
    try:
        return [model.model_validate(part) for part in unpack(doc)]
    except ValidationError as error:
        raise DocumentError(f"{name}: {_first_of(error)}") from error
    # what a page that is no page may raise while it is taken apart
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise DocumentError(f"{name}: {type(error).__name__}: {error}") from error


def _first_of(error: ValidationError) -> str:
    trouble = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in trouble["loc"]) or "the document"
    return f"{where}: {trouble['msg']}"
