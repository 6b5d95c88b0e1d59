"""Answers of an API server that are no success, told so that somebody can do something."""

import json
from typing import Any

import pytest

from autoscaler.refusal import Absent, ClusterError, Denied, Owned, Refused, TryLater, refusal

WHERE = "the cluster at https://c (context test)"
WHAT = "deployments.apps matmul-gpu in namespace lumbre"


def told(status: int, message: str, **more: Any) -> ClusterError:
    return refusal(status, json.dumps({"message": message} | more), "patch", WHAT, WHERE)


@pytest.mark.parametrize(
    ("status", "message", "kind", "says"),
    [
        (401, "Unauthorized", Denied, "have expired or are wrong"),
        (403, 'User "me" cannot patch resource', Denied, "Ask for a Role with the verb 'patch'"),
        (403, 'User "system:anonymous" cannot get', Denied, "without credentials"),
        (403, "exceeded quota: gpus", Refused, "exceeded quota: gpus"),
        (403, "because it is being terminated", Refused, "wait until it is gone"),
        (404, 'namespaces "x" not found', Absent, 'namespaces "x" not found'),
        (409, "the object has been modified", Refused, "(409): the object has been modified"),
        (422, "spec: Invalid value", Refused, "(422): spec: Invalid value"),
        (429, "too many requests", TryLater, "just now"),
        (500, 'failed calling webhook "vscaledobject.kb.io"', TryLater, "vscaledobject"),
    ],
)
def test_a_refusal_says_what_can_be_done(
    status: int, message: str, kind: type[ClusterError], says: str
) -> None:
    error = told(status, message)
    assert type(error) is kind
    assert says in str(error)


def test_a_conflict_lists_every_field() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": m, "field": f}
        for f, m in ((".spec.replicas", 'conflict with "hpa" using apps/v1'), (".spec.paused", "?"))
    ]
    error = told(409, "Apply failed with 2 conflicts", details={"causes": causes})
    assert isinstance(error, Owned)
    assert "replicas is owned by hpa; .spec.paused is owned by another" in str(error)


def test_causes_that_the_message_leaves_out_are_added() -> None:
    causes = [
        {"field": "spec.selector", "message": "field is immutable"},
        {"field": "spec.template", "message": "Required value"},
    ]
    error = told(422, "is invalid: field is immutable", details={"causes": causes})
    assert str(error).endswith("is invalid: field is immutable; spec.template: Required value")


@pytest.mark.parametrize("body", ["", "<html>Bad Gateway</html>", "[]", '"text"'])
def test_what_a_proxy_answers_is_told_too(body: str) -> None:
    error = refusal(502, body, "get", WHAT, WHERE)
    assert isinstance(error, Refused)
    assert (body or "no reason was given") in str(error)
