"""The tests. Assertions in the modules beside them are rewritten by pytest too, and so show what differs."""

from pkgutil import iter_modules

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
