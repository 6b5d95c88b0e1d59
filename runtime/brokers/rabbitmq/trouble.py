"""What pika's errors mean: what waiting may mend, and what somebody has to."""

import re
import ssl
from collections.abc import Iterator

from pika import exceptions  # type: ignore[import-untyped]

from runtime.brokers.rabbitmq.address import SETTING, Address
from runtime.errors import ConfigurationError

NOT_FOUND = 404
PRECONDITION_FAILED = 406
ACCESS_REFUSED = 403


class ChannelClosed(Exception):
    """A channel is gone, and what waited on it; `code` is the server's, 0 where it was not it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def missing(self) -> bool:
        """Whether what was asked for does not exist; a queue may also just not be up yet."""
        return self.code == NOT_FOUND and "down or inaccessible" not in str(self)

    @classmethod
    def by(cls, error: BaseException) -> "ChannelClosed":
        if isinstance(error, exceptions.ChannelClosedByBroker):
            return cls(error.reply_code, error.reply_text)
        return cls(0, cause(error))


def cause(error: BaseException) -> str:
    """Why it failed, in few words: that of the innermost error that has any."""
    texts = [_text(each) for each in _chain(error)]
    found = [text for text in texts if text]
    return found[-1] if found else type(error).__name__


def unmendable(error: BaseException, address: Address) -> ConfigurationError | None:
    """What somebody has to change before this address can be connected to, if that is so."""
    for each in _chain(error):
        if isinstance(each, ConfigurationError):
            return each
        if isinstance(each, ssl.SSLError):
            return _tls_refused(each, address)
    return _refused(" ".join(str(each) for each in _chain(error)), address)


def refused_declaration(error: ChannelClosed, name: str, address: Address) -> Exception:
    """Why the server will not have a queue or an exchange as we want it: what to do."""
    text = str(error)
    if error.code == PRECONDITION_FAILED and (match := _DIFFERS.search(text)):
        return ConfigurationError(
            f"{match['what']} {name} at {address} has {match['argument']} = {_value(match['is'])},"
            f" and this Lumbre declares {_value(match['wanted'])}. Run the same Lumbre and the same"
            f" settings everywhere; or drain the queue, delete it, and it is declared anew"
        )
    if error.code == ACCESS_REFUSED:
        return ConfigurationError(
            f"user {address.user!r} may not declare {name} at {address}: {_plain(text)}. Grant it"
            f" configure, write and read: rabbitmqctl set_permissions --vhost {address.vhost}"
            f" {address.user} '.*' '.*' '.*'"
        )
    if error.code in (PRECONDITION_FAILED, 540):
        return ConfigurationError(f"{name} cannot be declared at {address}: {_plain(text)}")
    return error


def _refused(text: str, address: Address) -> ConfigurationError | None:
    hosts = str(address)
    if "ACCESS_REFUSED" in text:
        return ConfigurationError(
            f"{hosts}: RabbitMQ refused user {address.user!r} with this password;"
            f" check {SETTING} (guest may log in from the server's own host only)"
        )
    if "NOT_ALLOWED" in text and "not found" in text:
        return ConfigurationError(
            f"{hosts}: there is no vhost {address.vhost!r}; make it with"
            f" rabbitmqctl add_vhost {address.vhost}, or change {SETTING}"
        )
    if "NOT_ALLOWED" in text and "refused for user" in text:
        return ConfigurationError(
            f"{hosts}: user {address.user!r} may not use vhost {address.vhost!r}; grant it with"
            f" rabbitmqctl set_permissions --vhost {address.vhost} {address.user} '.*' '.*' '.*'"
        )
    if "_ALERT_" in text:
        return ConfigurationError(
            f"{hosts}: the server ended the TLS handshake ({_alert(text)});"
            " it may want a client certificate, or another one"
        )
    return None


def _tls_refused(error: ssl.SSLError, address: Address) -> ConfigurationError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{address}: its certificate is not trusted ({error.verify_message}); give the CA that"
            f" signed it, and a host name that is in it"
        )
    if "WRONG_VERSION_NUMBER" in str(error):
        return ConfigurationError(
            f"{address}: no TLS is spoken there; write amqp://, or the port that has TLS"
        )
    return ConfigurationError(f"{address}: the TLS handshake failed: {_alert(str(error))}")


_DIFFERS = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<what>\w+) '.*?' in vhost '.*?':"
    r" received (?P<wanted>.*) but current is (?P<is>.*?)\"?$",
    re.DOTALL,
)


def _value(text: str) -> str:
    """`the value '4' of type 'signedint'` → `4`."""
    match = re.fullmatch(r"(?:the value )?'(.*?)'(?: of type '.*')?", text.strip(), re.DOTALL)
    return match[1] if match else text.strip()


def _plain(text: str) -> str:
    return text.partition(" - ")[2] or text


def _alert(text: str) -> str:
    match = re.search(r"\[SSL: (\w+)\]", text)
    return match[1].replace("_", " ").lower() if match else text


def _text(error: BaseException) -> str:
    if isinstance(error, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        return f"{_plain(error.reply_text)} ({error.reply_code})"
    if isinstance(error, exceptions.AMQPHeartbeatTimeout):
        return "no heartbeat came from the server"
    if isinstance(error, exceptions.ConnectionBlockedTimeout):
        return "the server kept the connection blocked"
    if isinstance(error, exceptions.IncompatibleProtocolError):
        return "the server hung up while greeting; amqps:// is for ports with TLS"
    if isinstance(error, exceptions.ConnectionOpenAborted):
        return "no answer in time"
    if isinstance(error, exceptions.StreamLostError):
        return "the connection was cut"
    if isinstance(error, exceptions.AMQPError) or not str(error):
        return ""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those it was made of, as pika nests them."""
    yield error
    inner = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), error.__cause__]
    for each in [*inner, *error.args]:
        if isinstance(each, BaseException) and each is not error:
            yield from _chain(each)
