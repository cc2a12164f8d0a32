"""Problems of accounts, sessions and keys, and of teams' spaces."""

from __future__ import annotations

from atelier.problem_types.model import ProblemType

ACCOUNTS = {
    "too-many-keys": ProblemType(
        "There are too many keys",
        409,
        "A person may have a hundred API keys; delete one first.",
    ),
    "address-taken": ProblemType(
        "This address has an account",
        409,
        "This e-mail address has an account. Upper and lower case make no difference.",
    ),
    "too-many-invitations": ProblemType(
        "There are too many invitations",
        409,
        "A space may have a hundred open invitations; delete one first.",
    ),
    "wrong-credentials": ProblemType(
        "The address or the password is wrong",
        401,
        "The address or the password is wrong; the answer does not say which.",
        "`WWW-Authenticate`",
    ),
    "dead-refresh-token": ProblemType(
        "This refresh token is not valid, or not any more; sign in again",
        401,
        "The refresh token is not valid, or not any more. Sign in again.",
        "`WWW-Authenticate`",
    ),
    "wrong-password": ProblemType(
        "The present password is wrong",
        403,
        "The present password, by which you confirm a change of password or the deletion of the "
        "account, is wrong. You stay signed in: this is no 401.",
    ),
    "registration-closed": ProblemType(
        "Accounts are made by invitation here",
        403,
        "This instance does not make an account for everybody (the setting `registration`): it "
        "takes an invitation of its operator, or none at all.",
    ),
    "dead-link": ProblemType(
        "This link is not valid, or not any more",
        403,
        "The link was used, is too old, was replaced or is for another address. Ask for a new "
        "one.",
    ),
    "unsupported-grant-type": ProblemType(
        "Only the grant type password is offered",
        422,
        "The token endpoint offers the grant type `password` only.",
    ),
}
SPACES = {
    "last-owner": ProblemType(
        "A space needs an owner",
        409,
        "The last owner of a space neither leaves it nor gets another role, and keeps the account "
        "while others are members; `detail` names the space. Make somebody else an owner, or "
        "delete the space.",
    ),
    "personal-space": ProblemType(
        "A person's own space stays theirs alone",
        409,
        "One's own space has no other members and no name, and is deleted with the account alone. "
        "Make a space for a team.",
    ),
    "already-member": ProblemType(
        "This account is a member already",
        409,
        "The account is a member of this space already. The invitation stays open; its owners "
        "change roles.",
    ),
    "too-many-spaces": ProblemType(
        "There are too many spaces",
        409,
        "You own as many spaces of teams as one person may (the setting `space_limit`); delete "
        "one first.",
    ),
}
