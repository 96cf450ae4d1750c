"""Text of tables and of their cells, against texts written by hand."""

from rmjax.evaluation.text_table import comparison_word, interval_text, markdown_table, text_table


def test_columns_are_as_wide_as_their_widest_cell():
    assert text_table([("", "a", "bb"), ("long", "1", "2")]) == "      a  bb\nlong  1  2"


def test_a_table_in_markdown():
    text = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"
    assert markdown_table([["a", "b"], ["1", "2"], ["3", "4"]]) == text


def test_an_interval_that_is_missing_or_undefined_has_no_text():
    assert interval_text((0.125, 0.25), " ({})") == " (12.5 to 25.0)"
    assert interval_text((-1.0, 2.0), form="+.2f", scale=1.0) == "-1.00 to +2.00"
    assert interval_text(None, " ({})") == interval_text((float("nan"), float("nan")), " ({})") == ""


def test_only_an_interval_beyond_the_reference_decides():
    assert comparison_word((0.51, 0.6), 0.5) == "better than"
    assert comparison_word((0.4, 0.49), 0.5) == "worse than"
    assert comparison_word((0.5, 0.6), 0.5) == "not distinguishable from"
    assert comparison_word((float("nan"), float("nan"))) == "not distinguishable from"
