"""Long names in tables break where a reader would break them, and nowhere else."""

from __future__ import annotations

from docsite.wide_tables import break_long_names, is_mostly_a_wide_table


def test_a_name_in_a_cell_may_break_after_its_joints_except_in_the_first_column() -> None:
    html = "<td><code>a_b</code></td>\n<td><code>sql/test_keys.py::test_a</code> a_b</td>"
    assert break_long_names(html) == (
        "<td><code>a_b</code></td>\n<td><code>sql/<wbr>test_<wbr>keys.py::<wbr>test_<wbr>a</code> a_b</td>"
    )


def test_code_elsewhere_stays_as_it_is() -> None:
    html = '<p><code>a_b</code></p><td>1</td><td><a href="a/b_c">x</a></td><td><code>&lt;x&gt;</code></td>'
    assert break_long_names(html) == html


def test_a_page_with_many_headings_keeps_its_table_of_contents_unless_a_table_needs_the_room() -> None:
    table = "<tr>" + "<th>a</th>" * 4 + "</tr>"
    assert is_mostly_a_wide_table(f"<h2>a</h2>{table}<h2>b</h2>")
    assert not is_mostly_a_wide_table("<h2>a</h2><h2>b</h2><h3>c</h3>" + table)
    assert is_mostly_a_wide_table("<h2>a</h2>" * 9 + table.replace("<th>a</th>", "<th>a</th>" * 2))
    assert not is_mostly_a_wide_table("<h2>a</h2><tr><th>a</th><th>b</th></tr>")
