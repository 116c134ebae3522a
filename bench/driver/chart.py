"""The chart of a run: bars of CPU per request, each workload's reference peer being 1."""

from html import escape

from .stats import Ratio

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP = 760, 245, 70, 15, 3, 16

# One look on its own background, so that it is readable wherever it is shown, and a dark one.
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .small { font-size: 11px; fill: #59636e }
  .ground { fill: #ffffff; stroke: #d1d9e0 }
  .line { stroke: #59636e; stroke-width: 1 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .clbd { fill: #0969da } .nginx { fill: #57a773 } .haproxy { fill: #d08770 } .floor { fill: #b6bec7 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .ground { fill: #0d1117; stroke: #3d444d }
    .line { stroke: #9198a1 }
    .grid { stroke: #3d444d }
    .clbd { fill: #4493f8 } .nginx { fill: #3d8b5f } .haproxy { fill: #b86a52 } .floor { fill: #656c76 }
  }
"""


def bars(results, proxies, reference):
    """[(title, [(proxy, Ratio)])]: CPU in relation to the reference's."""
    groups = []
    for workload in results.workloads:
        rows = [(proxy, results.ratio(workload.key, proxy.name, reference)) for proxy in proxies]
        groups.append((workload.title, rows))
    return groups


def draw(title, note, results, proxies):
    """The SVG's text."""
    reference = next((proxy.name for kind in ("nginx", "haproxy", "floor") for proxy in proxies if proxy.kind == kind), proxies[0].name)
    order = {"clbd": 0, "nginx": 1, "haproxy": 2, "floor": 3}
    ordered = sorted(proxies, key=lambda proxy: order[proxy.kind])
    groups = bars(results, ordered, reference)
    longest = max(ratio.high for _, rows in groups for _, ratio in rows)
    end = max(1.25, min(longest * 1.08, 3.0))
    scale = (WIDTH - LEFT - RIGHT) / end
    body, y = [], 74
    top = y - 6
    for name, rows in groups:
        middle = y + (len(rows) * (BAR + GAP) - GAP) / 2 + 4
        body.append(f'<text x="{LEFT - 12}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for proxy, ratio in rows:
            body += _bar(proxy, ratio, y, scale, end)
            y += BAR + GAP
        y += GROUP
    height = y + 32
    grid = []
    for step in range(int(end / 0.25) + 1):
        x = LEFT + step * 0.25 * scale
        grid.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{y - GROUP + 4}"/>')
        if step % 2 == 0:
            grid.append(f'<text class="small" x="{x:.1f}" y="{y + 4}" text-anchor="middle">{step * 0.25:g}</text>')
    legend, x = [], LEFT
    for proxy in ordered:
        text = f"{proxy.name} {proxy.version}".strip() if proxy.kind in ("nginx", "haproxy") else proxy.name
        text = text if len(text) <= 28 else proxy.name
        legend.append(f'<rect class="{proxy.kind}" x="{x}" y="47" width="11" height="11" rx="2"/><text class="small" x="{x + 16}" y="57">{escape(text)}</text>')
        x += 34 + 6.4 * len(text)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            f'<text x="16" y="28" font-weight="600">{escape(title)}: CPU time, {escape(reference)} = 1, less is better</text>',
            *legend,
            *grid,
            *body,
            f'<text class="small" x="16" y="{height - 11}">{escape(note)}</text>',
            "</svg>",
            "",
        ]
    )


def _bar(proxy, ratio: Ratio, y, scale, end):
    """A bar to the median, a line over the quartiles, the figure behind."""

    def at(value):
        return LEFT + min(value, end) * scale

    middle = y + BAR / 2
    return [
        f'<rect class="{proxy.kind}" x="{LEFT}" y="{y}" width="{at(ratio.median) - LEFT:.1f}" height="{BAR}" rx="2"><title>{escape(proxy.name)}: {ratio}, n = {ratio.n}</title></rect>',
        f'<line class="line" x1="{at(ratio.low):.1f}" x2="{at(ratio.high):.1f}" y1="{middle}" y2="{middle}"/>',
        f'<text class="small" x="{at(max(ratio.median, ratio.high)) + 6:.1f}" y="{middle + 4}">{ratio.median:.2f}</text>',
    ]
