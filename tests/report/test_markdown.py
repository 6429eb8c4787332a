"""What a code host makes of texts in our Markdown, by GitHub's own parser: nothing but the text."""

import re
from html import unescape

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

from bench.report.render import markdown

TEXTS = [
    "a|b", "@somebody and @a/team", "see https://example.org/x or HTTP://x.org", "www.example.org",
    "ftp://x.org/y", "mail a.b@example.org", "mailto:a@b.org", "$x^2$ and $$y$$", "#12, x/y#3 :a:",
    "`code` and ``", "*a* _b_ __c__ ~~d~~", "![x](y) [a](b) [c]: d", "<script>x</script> <!-- -->",
    "&amp; &lt;", "a\\|b \\* \\", "snake_case_word", "line\nline", "- [ ] x", "1. x", "# x", "```",
]  # fmt: skip


def shown(page: str) -> str:
    """The text of HTML, as a browser shows it."""
    return unescape(re.sub(r"<!--.*?-->|</?span>", "", page, flags=re.S))


@pytest.mark.parametrize("text", TEXTS)
def test_a_cell_shows_its_text_and_nothing_of_it_is_live(text):
    table = f"| a | b |\n| -- | -- |\n| {markdown(text)} | end |\n"
    page = cmarkgfm.github_flavored_markdown_to_html(table, Options.CMARK_OPT_UNSAFE)
    cells = re.findall(r"<td>(.*?)</td>", page, flags=re.S)
    assert [shown(cell) for cell in cells] == [text.replace("\n", " ").strip(), "end"]
    assert not re.search(r"<(?!/?span>|!--)", cells[0])


@pytest.mark.parametrize("live", [r"@\w", r"\w://", r"www\.", r"\$\w", r"\w\$", r":\w+:"])
def test_nothing_is_left_that_a_host_reads_after_the_parser(live):
    """Mentions and formulas are found in the text, where an entity or a backslash is gone."""
    page = cmarkgfm.github_flavored_markdown_to_html(markdown(" ".join(TEXTS)))
    assert not re.search(live, unescape(page))
