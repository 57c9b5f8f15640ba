"""How the page looks, in light and in dark."""

from __future__ import annotations

from tfdml.runs.views.spark import PART_STYLES

_PARTS = "\n".join(
    f".part-{part} {{ fill: {colour}; background: {colour}; }}"
    for part, colour in PART_STYLES.items()
)
_LIGHT = ("#1f6feb", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285", "#c2255c", "#7a5c00", "#495057")
_DARK = ("#6ea8fe", "#ff9f5a", "#69db7c", "#da9bf0", "#4fd1dd", "#faa2c1", "#e9c46a", "#adb5bd")


def _colours(values: tuple[str, ...]) -> str:
    return " ".join(f"--c{number}: {value};" for number, value in enumerate(values, 1))


CLASSES = tuple(f"c{number}" for number in range(1, len(_LIGHT) + 1))
_CURVES = "\n".join(
    f".{name} {{ stroke: var(--{name}); }} .{name} circle {{ fill: var(--{name}); }} "
    f"i.{name} {{ background: var(--{name}); }}"
    for name in CLASSES
)

CSS = f"""
:root {{
  color-scheme: light dark;
  --ground: #ffffff; --card: #f6f7f9; --text: #1b1f24; --dim: #59636e; --line: #d8dee4;
  --good: #1a7f37; --bad: #cf222e; --warn: #9a6700; {_colours(_LIGHT)}
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --ground: #14171c; --card: #1d2127; --text: #e4e8ee; --dim: #9aa4b0; --line: #363c45;
    --good: #57d274; --bad: #ff7b72; --warn: #e3b341; {_colours(_DARK)}
  }}
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0 auto; padding: 28px 20px 60px; max-width: 1180px; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
}}
h1 {{ font-size: 24px; margin: 0 0 4px; overflow-wrap: anywhere; }}
h2 {{ font-size: 18px; margin: 40px 0 12px; padding-bottom: 6px; border-bottom: 1px solid var(--line); }}
p {{ margin: 6px 0 12px; }}
.dim, small {{ color: var(--dim); fill: var(--dim); }}
.good {{ color: var(--good); }} .bad {{ color: var(--bad); }} .warn {{ color: var(--warn); }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px; margin: 18px 0; }}
.tile {{ background: var(--card); border-radius: 8px; padding: 10px 14px; }}
.tile b {{ display: block; font-size: 20px; font-weight: 600; overflow-wrap: anywhere; }}
.tile span {{ color: var(--dim); font-size: 13px; }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(360px, 100%), 1fr)); gap: 14px; }}
figure {{ margin: 0; background: var(--card); border-radius: 8px; padding: 12px 12px 8px; }}
figcaption {{ font-weight: 600; margin-bottom: 4px; overflow-wrap: anywhere; }}
figcaption small {{ font-weight: 400; }}
svg {{ display: block; width: 100%; height: auto; }}
svg text {{ fill: var(--text); stroke: none; font-size: 13px; }}
svg.bars text {{ font-size: 13px; }}
svg .right {{ text-anchor: end; }} svg .middle {{ text-anchor: middle; }}
.grid {{ stroke: var(--line); stroke-width: 1; }} .axis {{ stroke: var(--dim); stroke-width: 1; }}
.curve {{ fill: none; stroke-width: 2; stroke-linejoin: round; }}
.faint .curve {{ stroke-width: 1; opacity: 0.35; }}
.dashed .curve {{ stroke-dasharray: 5 4; }}
g circle {{ stroke: none; opacity: 0; }} g circle:hover {{ opacity: 1; }} .dots circle {{ opacity: 1; }}
{_CURVES}
{_PARTS}
.span {{ fill: var(--c1); }} .span.finished {{ fill: var(--good); }} .span.failed, .span.lost {{ fill: var(--bad); }}
.span.stopped {{ fill: var(--warn); }}
i.span {{ background: var(--c1); }} i.span.finished {{ background: var(--good); }}
i.span.failed, i.span.lost {{ background: var(--bad); }} i.span.stopped {{ background: var(--warn); }}
.legend {{ margin: 6px 0 4px; font-size: 13px; color: var(--dim); }}
.entry {{ margin-right: 16px; white-space: nowrap; }}
.entry i {{ display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 14px; margin: 8px 0; }}
th, td {{ text-align: left; padding: 4px 18px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }}
td {{ overflow-wrap: anywhere; }}
thead th {{ color: var(--dim); font-weight: 500; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.facts th {{ color: var(--dim); font-weight: 500; white-space: nowrap; }}
code, .mono td {{ font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; }}
details {{ margin: 10px 0; }} summary {{ cursor: pointer; }}
footer {{ margin-top: 48px; color: var(--dim); font-size: 13px; }}
@media print {{ body {{ max-width: none; }} figure, .tile {{ break-inside: avoid; }} }}
"""
