"""The tests. A failed assertion of a module beside them says what differs, as one of theirs does."""

from pkgutil import iter_modules

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
