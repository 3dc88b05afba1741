"""Headings, sentences and tables, written as Markdown or as HTML."""

import html
from typing import NamedTuple

from tabulate import tabulate

_STYLE = ("body{font:15px/1.45 sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}"
          "table{border-collapse:collapse;font-size:14px}"
          "td,th{border-bottom:1px solid #ccc;padding:.25rem .6rem;text-align:right;vertical-align:top}"
          "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}div{overflow-x:auto}")


class Heading(NamedTuple):
    text: str


class Text(NamedTuple):
    text: str


class Table(NamedTuple):
    """headers: texts; rows: lists of texts, as many."""

    headers: list
    rows: list


def as_markdown(blocks, *, level):
    """level: of the headings."""
    return "\n\n".join(_markdown(block, level) for block in blocks) + "\n"


def _markdown(block, level):
    if isinstance(block, Heading):
        return f"{'#' * level} {block.text}"
    if isinstance(block, Text):
        return block.text
    rows = [[cell.replace("|", "\\|") for cell in row] for row in [block.headers, *block.rows]]
    align = ["left"] + ["right"] * (len(block.headers) - 1)
    return tabulate(rows[1:], headers=rows[0], tablefmt="pipe", disable_numparse=True, colalign=align)


def as_html(blocks):
    return "".join(map(_html, blocks))


def _html(block):
    if isinstance(block, Heading):
        return f"<h2>{html.escape(block.text)}</h2>"
    if isinstance(block, Text):
        return f"<p>{html.escape(block.text)}</p>"
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.headers)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
    return f"<div><table><tr>{head}</tr>{body}</table></div>"


def html_page(title, drawing, body):
    """drawing: an SVG file's text, which becomes part of the page. body: HTML. -> the page, which loads nothing."""
    title = html.escape(title)
    svg = drawing[drawing.index("<svg"):]  # without the prolog, which names a DTD
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
            f"<h1>{title}</h1>{svg}{body}</html>\n")
