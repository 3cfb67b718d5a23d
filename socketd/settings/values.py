"""The former name of L{socketd.settings.value_types}, kept for protocols of other packages."""

from socketd.settings.value_types import *  # noqa: F401, F403
from socketd.settings.value_types import ValueType

Kind = ValueType
