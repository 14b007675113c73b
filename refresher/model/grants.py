"""The grants of OAuth 2.0 that the product knows."""

from enum import StrEnum


class Grant(StrEnum):
    """OAuth 2.0 grants, by the short names used in settings and tags (RFC 6749 section 4 and 6, RFC 7523)."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the grant's name
    CLIENT_CREDENTIALS = "client_credentials"
    PASSWORD = "password"  # noqa: S105 - the grant's name
    JWT_BEARER = "jwt_bearer"
    AUTHORIZATION_CODE = "authorization_code"
