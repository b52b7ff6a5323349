"""What a tab's address can name: values that its controls can have, and nothing else."""

import gradio as gr
import pytest

from vidapp.ui.address import LONGEST, Address


@pytest.fixture
def address() -> Address:
    with gr.Blocks():
        controls = {
            "split": gr.Radio([("Training", "train"), ("Test", "test")], value="train"),
            "size": gr.Dropdown([("32 x 32", 32), ("64 x 64", 64)], value=64),
            "frames": gr.Slider(2, 64, value=20, step=1),
            "flip": gr.Slider(0, 1, value=0.5, step=0.05),
            "draw": gr.Number(0),
            "lengths": gr.Textbox("5, 10"),
            "data": gr.Dropdown([("made", "made")], value="made", allow_custom_value=True),
        }
    return Address("data", controls, gr.Textbox(), {"data": lambda: [("made", "made"), ("mine", "own/mine")]})


def test_a_link_names_values_of_the_kind_that_each_control_has(address: Address) -> None:
    query = {
        "tab": "data",
        "split": "test",
        "size": "32",
        "frames": "8",
        "flip": "0.25",
        "draw": "7",
        "lengths": "2, 4",
        "data": "own/mine",
    }
    found = {name: address.named(query)[control] for name, control in address.controls.items()}
    assert found == {"split": "test", "size": 32, "frames": 8, "flip": 0.25, "draw": 7, "lengths": "2, 4", "data": "own/mine"}
    assert isinstance(found["frames"], int)


def test_what_a_link_does_not_name_is_left_alone(address: Address) -> None:
    assert address.named({"tab": "data", "frames": "8", "else": "1"}) == {address.controls["frames"]: 8}
    assert address.named({"tab": "tokens", "frames": "8"}) == {}
    assert address.named({"frames": "8"}) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("split", "both"),
        ("size", "48"),
        ("size", ""),
        ("frames", "1"),
        ("frames", "65"),
        ("frames", "nan"),
        ("frames", "many"),
        ("draw", "inf"),
        ("data", "own/theirs"),
        ("data", "../mine"),
        ("lengths", "5" * (LONGEST + 1)),
    ],
)
def test_a_value_that_the_control_cannot_have_is_refused_by_name(address: Address, name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"the link says {name}="):
        address.named({"tab": "data", name: text})
