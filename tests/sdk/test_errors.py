"""The table of status and code to exception is complete."""

import daytona_sdk
from daytona_sdk.common import errors
from daytona_sdk.common.errors import BY_CODE, BY_STATUS, DaytonaError, error_class

# Raised by the client itself, so no answer of a server maps to them.
CLIENT_SIDE = {errors.DaytonaConnectionError, errors.DaytonaConnectionTimeoutError, DaytonaError}


def every_class(base: type[DaytonaError] = DaytonaError) -> set[type[DaytonaError]]:
    return {base}.union(*(every_class(child) for child in base.__subclasses__()))


def test_every_exception_can_be_raised_by_an_answer_or_by_the_client() -> None:
    assert every_class() == {*BY_STATUS.values(), *BY_CODE.values()} | CLIENT_SIDE


def test_every_exception_is_exported() -> None:
    assert {cls.__name__ for cls in every_class()} <= set(daytona_sdk.__all__)


def test_a_codes_class_belongs_to_a_status() -> None:
    for cls in BY_CODE.values():
        assert cls.__bases__[0] in BY_STATUS.values()


def test_a_code_counts_only_from_the_toolbox() -> None:
    assert error_class(404, "FILE_NOT_FOUND", "DAYTONA_DAEMON") is errors.DaytonaFileNotFoundError
    assert error_class(404, "FILE_NOT_FOUND", None) is errors.DaytonaNotFoundError
    assert error_class(404, "NEW_CODE", "DAYTONA_DAEMON") is errors.DaytonaNotFoundError
    assert error_class(418) is DaytonaError
    assert error_class(None) is DaytonaError
    assert error_class(504) is errors.DaytonaTimeoutError


def test_older_names_are_the_same_classes() -> None:
    assert daytona_sdk.DaytonaValidationError is daytona_sdk.DaytonaBadRequestError
    assert daytona_sdk.DaytonaAuthorizationError is daytona_sdk.DaytonaForbiddenError
