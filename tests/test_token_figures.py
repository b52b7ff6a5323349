"""Code use, flicker and the atlas, as arithmetic on small grids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp.token_figures import atlas, code_use, flicker, patches


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_perplexity_lies_between_one_and_the_codes_in_use(ids: list[int]) -> None:
    use = code_use(np.array(ids), 10)
    assert 1 - 1e-9 <= use.perplexity <= use.used + 1e-9
    assert use.used + use.dead == 10
    assert use.counts_V.sum() == len(ids)


def test_codes_used_evenly_have_their_number_as_perplexity() -> None:
    assert code_use(np.arange(8).repeat(3), 16).perplexity == pytest.approx(8)


def test_ids_outside_the_codebook_are_refused() -> None:
    with pytest.raises(ValueError, match="codebook of 8"):
        code_use(np.array([8]), 8)


def test_patches_are_cut_where_the_tokens_lie() -> None:
    frames = np.arange(16).reshape(1, 1, 4, 4)
    assert patches(frames, 2, 2)[0, 1, 0, 0].tolist() == [[8, 9], [12, 13]]
    with pytest.raises(ValueError, match="no 3 x 3 patches"):
        patches(frames, 3, 3)


def test_flicker_is_a_changed_id_over_unchanged_pixels() -> None:
    tokens = np.array([[[0, 0]], [[1, 1]], [[1, 1]]])
    frames = np.zeros((3, 1, 2, 4), np.uint8)
    frames[1:, :, :, 2:] = 200  # the right patch really changes
    assert flicker(tokens, frames).tolist() == [[[False, False]], [[True, False]], [[False, False]]]


def test_the_atlas_holds_the_mean_of_what_each_code_drew_most_used_first() -> None:
    tokens = np.array([[[3, 3, 7]]])
    frames = np.array([0.0, 1.0, 0.25]).repeat(2).reshape(1, 1, 1, 6).repeat(2, axis=2)
    found = atlas(tokens, frames)
    assert [(one.id, one.count) for one in found] == [(3, 2), (7, 1)]
    assert found[0].patch == pytest.approx(np.full((1, 2, 2), 0.5))
    assert found[1].patch == pytest.approx(np.full((1, 2, 2), 0.25))
