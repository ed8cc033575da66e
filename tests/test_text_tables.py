"""Text tables."""

from hype.text_tables import aligned, counted, markdown_table


def test_a_markdown_table_is_read_back_by_its_bars():
    text = markdown_table(["name", "n"], [["a", "1"], ["bc", "-"]])
    assert text == "| name | n |\n| --- | --- |\n| a | 1 |\n| bc | - |"
    assert markdown_table(["name"], []) == "| name |\n| --- |"


def test_columns_of_a_terminal_are_as_wide_as_their_widest_cell():
    assert aligned(["name", "n", ""], [["abcdef", "1", "x"], ["b", "10", ""]], right=["n"]) == [
        "name     n",
        "abcdef   1  x",
        "b       10",
    ]


def test_one_thing_is_singular():
    assert [counted(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
