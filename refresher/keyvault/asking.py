"""Requests to one vault: within the run's deadline, sent again where that helps, their errors without the SDK's text.

The SDK's own retries and time-outs are made for hours; here they are off, and the run's retry loop decides. A pause
that the vault asked for is everybody's who asks here.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from refresher.keyvault.errors import no_identity
from refresher.keyvault.throttle import Gate
from refresher.keyvault.whole_vault import Asked, is_its_own, not_its_own, silent
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.errors import VaultError
from refresher.network.sockets import limit
from refresher.retry import retrying

_T = TypeVar("_T")
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 8.0
_ATTEMPTS = 5


class Requests:
    """Requests for the secrets, or for the keys, of one vault. Safe between threads.

    `missing` makes the error of a name that is not there, in a vault; `translate` that of an answer that is one.
    """

    def __init__(
        self,
        url: str,
        kind: str,
        clock: Clock,
        *,
        missing: Callable[[str, str], VaultError],
        translate: Callable[[Asked, HttpResponseError, datetime], VaultError],
    ) -> None:
        self.gate = Gate(clock)
        self._url = url
        self._kind = kind
        self._clock = clock
        self._missing = missing
        self._translate = translate

    def retrying(self, operation: Callable[[], _T], deadline: Deadline, *, insist: bool = False) -> _T:
        """Do it again after errors that pass, and not before the vault may be asked again. Raises VaultError."""

        def attempt() -> _T:
            self.gate.wait(deadline, insist=insist)
            return operation()

        return retrying(self._clock, deadline, attempts=_ATTEMPTS)(attempt)

    def once(self, operation: str, name: str, deadline: Deadline, request: Callable[..., _T]) -> _T:
        """One request, with time-outs; the SDK's errors become ours. ValueError: not the vault's answer."""
        asked, remaining = Asked(operation, self._kind, name, self._url), max(0.1, deadline.remaining())
        failure: VaultError
        try:
            with limit(remaining):
                return request(
                    connection_timeout=min(CONNECT_TIMEOUT, remaining), read_timeout=min(READ_TIMEOUT, remaining)
                )
        except ResourceNotFoundError as error:
            failure = self._missing(name, self._url) if is_its_own(error) else not_its_own(asked, status=404)
        except HttpResponseError as error:
            failure = self._translate(asked, error, self._clock.now())
            if failure.cause is Cause.VAULT_THROTTLED and failure.retry_after is not None:
                self.gate.close(failure.retry_after)
        except (ServiceRequestError, ServiceResponseError) as error:
            failure = silent(asked, error)
        except AzureError:
            failure = no_identity()
        except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError):
            # The SDK takes JSON of any shape and depth, with any date, apart unchecked.
            failure = not_its_own(asked)
        raise failure
