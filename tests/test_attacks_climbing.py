"""Who climbs where, and what is kept while a ``climbing`` lasts."""

from attack_models import cnn
from taped import eagerly

from meddef.attacks.capture import Captured, climbing, holding, kept
from meddef.attacks.loop import climb


def test_elsewhere_it_is_the_plain_loop() -> None:
    with climbing("cpu") as once:
        assert once is climb
        with climbing("cpu", 3) as again:
            assert again is climb


def test_what_is_kept_is_made_once_while_it_lasts() -> None:
    model, made = cnn(), []

    def make() -> int:
        made.append(1)
        return len(made)

    assert [kept(model, "a", make), kept(model, "a", make)] == [1, 2]
    with holding(Captured(eagerly)):
        assert [kept(model, "a", make), kept(model, "a", make), kept(cnn(), "a", make)] == [3, 3, 4]
    assert kept(model, "a", make) == 5
