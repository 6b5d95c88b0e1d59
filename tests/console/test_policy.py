"""A scaling in words."""

from console.policy import policy_view, policy_words, span
from runtime import Scaling, function
from runtime.function import describe


def test_a_function_that_rests_at_zero() -> None:
    words = policy_words(Scaling(target=2, max_replicas=4), most=8)
    assert words[0] == "It rests at zero, and the first message wakes it."
    assert "one replica for every 2 messages that wait or run, at most 4." in words[1]
    assert "every 2 s" in words[2]
    assert words[-1] == "The last replica goes when there was no message for 1 min."


def test_a_function_that_never_rests() -> None:
    words = policy_words(Scaling(min_replicas=1, target=1), most=8)
    assert words[0] == "At least 1 replica always is there."
    assert (
        "for every message that waits or runs, at most 8 (as many as there is hardware for here)"
        in words[1]
    )
    assert not any("last replica" in sentence for sentence in words)


def test_a_device_that_is_not_here_has_no_number_of_its_own() -> None:
    assert "at most as many as there is hardware for." in policy_words(Scaling(), None)[1]


def test_an_activation_is_said() -> None:
    assert "more than 10 messages wait" in policy_words(Scaling(activation=10), 1)[0]


def test_what_may_run_for_very_long_is_no_scaled_object() -> None:
    def f() -> None: ...

    short = describe(function(timeout=900)(f), file="f.py", attribute="f")
    long = describe(function(timeout=901)(f), file="f.py", attribute="f")
    assert policy_view(short, "cpu", 2)["yaml"].startswith("apiVersion: keda.sh/v1alpha1")
    assert policy_view(long, "cpu", 2)["yaml"] is None


def test_spans_are_said_as_they_were_set() -> None:
    assert [span(s) for s in (0, 0.5, 2, 60, 90)] == [
        "no time at all",
        "0.5 s",
        "2 s",
        "1 min",
        "90 s",
    ]
