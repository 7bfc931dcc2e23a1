"""The one tree of errors. Nothing in it knows HTTP; the API translates by class, at its edge.

BallastError
├── InvalidInput            what was sent cannot be meant; says where and what to do
│   └── InvalidTick         one tick that goes to the dead letter, with a reason code
├── NotFound                no such thing, or not yours: the two look alike on purpose
├── Conflict                true input, wrong moment
│   ├── RevisionMoved       the portfolio changed since it was read
│   ├── VersionMoved        If-Match names another version
│   ├── IllegalTransition   the adjustment's state does not allow that step
│   ├── AlreadyExists       the name or id is taken
│   └── IdempotencyConflict same key, other body, or still in flight
├── Denied                  authenticated, but not allowed
│   ├── OperatorsOwn        a rule of whoever runs the service, which traders do not change
│   └── NotPublisher        a source that the registry lets others speak for, or nobody
├── Unavailable             a part that is needed is not there now; trying again is right
│   ├── PriceUnknown        no consensus price for what must be valued
│   ├── FeedLost            the other end of a feed is away, or says what cannot be understood
│   ├── Fenced              another process holds the lease; this one must stop writing
│   └── StreamReset         the stream was flushed or went back
└── ConfigurationError      the operator has to change something before it can start
"""


class BallastError(Exception):
    """Root of everything that Ballast raises on purpose."""


class InvalidInput(BallastError):
    """`path` is a JSON pointer to the offending part, empty for the whole."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class InvalidTick(InvalidInput):
    """`reason` is one of `domain.market.Rejection`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotFound(BallastError):
    def __init__(self, kind: str, identifier: object) -> None:
        super().__init__(f"no {kind} {identifier}")
        self.kind = kind


class Conflict(BallastError):
    """The request was well formed but does not fit the present state."""


class RevisionMoved(Conflict):
    """The portfolio changed between reading and writing; read again."""


class VersionMoved(Conflict):
    """If-Match names a version that is no longer the current one."""


class IllegalTransition(Conflict):
    """The state table in `domain/adjustments.py` has no such step."""


class AlreadyExists(Conflict):
    """The identifier or name is taken."""


class IdempotencyConflict(Conflict):
    """`reason` tells the two cases apart: `in_flight` or `other_body`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Denied(BallastError):
    """The key lacks the scope."""


class OperatorsOwn(Denied):
    """Seen by the trader whose portfolio it binds, changed by the operator alone."""


class NotPublisher(Denied):
    """The registry of sources does not name the caller's tenant as the publisher."""


class Unavailable(BallastError):
    """Something needed is away; the caller may try again."""


class PriceUnknown(Unavailable):
    def __init__(self, instrument: str) -> None:
        super().__init__(f"no consensus price for {instrument} yet")
        self.instrument = instrument


class FeedLost(Unavailable):
    """`retry_after_seconds`: what the other end asks for."""

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Fenced(Unavailable):
    """The lease moved on; whatever was computed here must not be written."""


class StreamReset(Unavailable):
    """The stream no longer holds what it held: a new generation is needed."""


class ConfigurationError(BallastError):
    """Says which setting, what is wrong with it and what would be right."""
