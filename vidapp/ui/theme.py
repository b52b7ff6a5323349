"""How the page looks: one theme for light and dark, and the style sheet beside the scripts in `static/`."""

from pathlib import Path

import gradio as gr

STATIC = Path(__file__).parent / "static"
SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def static(name: str) -> str:
    """The text of a script or style sheet that ships with the page."""
    return (STATIC / name).read_text(encoding="utf-8")


def heading(text: str) -> gr.HTML:
    """The title of a part of a tab."""
    return gr.HTML(f'<h2 class="heading">{text}</h2>', apply_default_css=False, padding=False)


def theme() -> gr.themes.Base:
    """Indigo on slate. Fonts are the system's: the page asks no other host for anything."""
    return gr.themes.Soft(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        font=SANS,
        font_mono=MONO,
        spacing_size="sm",
        radius_size="md",
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_shadow="none",
        block_shadow_dark="none",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_label_text_color="*primary_600",
        checkbox_label_background_fill_selected="*primary_600",
        checkbox_label_background_fill_selected_dark="*primary_600",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",  # 500 and lighter are too faint for small print on a light page
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        button_secondary_background_fill_hover_dark="*neutral_500",
        button_secondary_shadow="none",
        button_secondary_shadow_hover="none",
        button_border_width="1px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )
