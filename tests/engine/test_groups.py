"""Groups of prompts: all of them, in order, as many at once as fit."""

from hypothesis import given
from hypothesis import strategies as st

from negkernel.delta.budget import groups


@given(
    st.lists(st.integers(1, 50), min_size=1),
    st.integers(0, 20),
    st.integers(1, 5),
    st.integers(0, 300),
)
def test_groups_fit_and_leave_no_room_for_the_next_prompt(lengths, per_prompt, per_token, budget):
    need = [per_prompt + per_token * length for length in lengths]
    found = list(groups(need, budget))
    assert [i for first, last in found for i in range(first, last)] == list(range(len(lengths)))
    for first, last in found:
        assert last == first + 1 or sum(need[first:last]) <= budget
        assert last == len(lengths) or sum(need[first : last + 1]) > budget
