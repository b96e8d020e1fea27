"""What an open page is asked: does it scroll sideways, are its charts' words whole and apart?"""

from __future__ import annotations

from typing import Any

_CHARTS = """() => {
          const found = [];
          for (const svg of document.querySelectorAll('svg.chart')) {
            const frame = svg.getBoundingClientRect();
            const texts = [...svg.querySelectorAll('text')]
              .filter(t => t.textContent && getComputedStyle(t).visibility === 'visible')
              .map(t => [t.textContent, t.getBoundingClientRect()]);
            const id = svg.closest('figure').id;
            for (const [text, box] of texts)
              if (box.left < frame.left - 2 || box.right > frame.right + 2 ||
                  box.top < frame.top - 2 || box.bottom > frame.bottom + 2) found.push([id, text]);
            if (id === 'fig-heatmap') continue;  // a hundred rows, one size, one step apart
            for (let i = 0; i < texts.length; i++)
              for (let j = i + 1; j < texts.length; j++) {
                const [a, b] = [texts[i][1], texts[j][1]];
                const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (wide > 1 && high > 4) found.push([id, texts[i][0], texts[j][0]]);
              }
          }
          return found;
        }"""


def chart_trouble(page: Any) -> list[list[str]]:
    """[figure, text] of words cut off, [figure, text, text] of words on each other."""
    found: list[list[str]] = page.evaluate(_CHARTS)
    return found


def sideways(page: Any) -> int:
    """Pixels that the page is wider than its window, with all that is folded open."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wide
