"""The settings of the networks, checked by their names before layers are made of them."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from tonsure.arguments import Check, real, whole
from tonsure.networks.forward import as_input_error

P = ParamSpec("P")
T = TypeVar("T")


def checked_settings(make: Callable[P, T]) -> Callable[P, T]:
    """The function, with settings that are checked; raises InputError if one is of another type or out of range."""
    signature = inspect.signature(make)

    @wraps(make)
    def made(*given: P.args, **named: P.kwargs) -> T:
        settings = signature.bind(*given, **named)
        for name, setting in settings.arguments.items():
            settings.arguments[name] = _CHECKS[name](name, setting)
        with as_input_error(f"{make.__name__} has no network with these settings"):
            return make(*settings.args, **settings.kwargs)

    return made


def _one_or_several(check: Check) -> Check:
    def checked(name: str, given: object) -> object:
        if not isinstance(given, list | tuple):
            return check(name, given)
        return tuple(check(f"{name}[{place}]", each) for place, each in enumerate(given))

    return checked


_CHECKS: dict[str, Check] = {
    "classes": whole(2),
    "dropout": _one_or_several(real(least=0, most=1)),
    **dict.fromkeys(("inputs", "words", "width", "filters"), whole(1)),
    **dict.fromkeys(("channels", "hidden", "sizes"), _one_or_several(whole(1))),
}
