// Drawings that a reader moves. Each <section class="interactive"> carries its numbers as JSON
// (companion/interactive.py): controls, and one frame of series for each combination of them.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 300;

  const make = (name, attributes = {}, text = "") => {
    const element = attributes.svg
      ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (key !== "svg") element.setAttribute(key, value);
    if (text) element.textContent = text;
    return element;
  };
  const draw = (parent, name, attributes, text) =>
    parent.appendChild(make(name, { ...attributes, svg: true }, text));

  // numbers as in the text: 4 digits, a true minus; rounding is no number
  const say = v => (Math.abs(v) < 1e-12 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3
    ? v.toExponential(2) : String(Number(v.toPrecision(4)))).replace("-", "−");
  const median = list => {
    const s = list.filter(v => v !== null).sort((a, b) => a - b);
    if (!s.length) return null;
    const h = s.length >> 1;
    return s.length % 2 ? s[h] : (s[h - 1] + s[h]) / 2;
  };

  function range(values, log) {
    const kept = values.filter(v => v !== null && (!log || v > 0));
    let low = Math.min(...kept), high = Math.max(...kept);
    if (log) return [low / 1.3, high * 1.3];
    const pad = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - pad, high + pad];
  }

  function ticks(low, high, log, most) {
    if (log) {
      const found = [];
      for (let e = Math.ceil(Math.log10(low)); 10 ** e <= high; e++) found.push(10 ** e);
      const every = Math.ceil(found.length / most);
      return found.filter((_, i) => i % every === 0);
    }
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= rough);
    const found = [];
    for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(Math.abs(t) < step / 1e6 ? 0 : t);
    return found;
  }
  const tickText = (v, log) => {
    if (!log) return say(Number(v.toPrecision(6)));
    const e = Math.round(Math.log10(v));
    return e >= -2 && e <= 3 ? String(Number(v.toPrecision(3))) : `10${[...String(e)].map(d => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d] || "⁻").join("")}`;
  };

  function start(section) {
    const spec = JSON.parse(section.querySelector("script").textContent);
    const state = spec.controls.map(c => c.start), fits = [];
    section.append(make("p", { class: "interactive-title" }, spec.title));
    const board = section.appendChild(make("div", { class: "interactive-controls" }));
    const picture = section.appendChild(make("div", { class: "interactive-picture" }));
    const reading = section.appendChild(make("p", { class: "interactive-reading", "aria-live": "polite" }));
    const moving = spec.controls.map((c, i) => i).filter(i => !spec.controls[i].cursor);
    const frame = () => spec.frames[moving.reduce((place, i) => place * spec.controls[i].options.length + state[i], 0)];
    const all = spec.frames.flat();
    const categories = !all[0].x;
    const fixed = !spec.x.free && !categories && range(all.flatMap(s => s.x), spec.x.log);
    const fixedY = !spec.y.free && range(all.flatMap(s => s.y), spec.y.log);
    const positions = () => frame()[0].x || [];

    function show() {
      const series = frame(), width = Math.max(280, picture.clientWidth || 640);
      picture.replaceChildren();
      const svg = draw(picture, "svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": spec.title });
      const names = [...new Set(series.map(s => s.name))];
      const left = 64, right = width - 12, bottom = HEIGHT - 44, top = 12;
      const [x0, x1] = categories ? [-0.5, names.length - 0.5] : fixed || range(series.flatMap(s => s.x), spec.x.log);
      const [y0, y1] = fixedY || range(series.flatMap(s => s.y), spec.y.log);
      // linear up to spec.y.linear, then logarithmic
      const bend = v => !spec.y.linear || Math.abs(v) <= spec.y.linear ? v
        : Math.sign(v) * spec.y.linear * (1 + Math.log10(Math.abs(v) / spec.y.linear));
      const place = (v, a, b, p, q, log) => log ? p + (q - p) * Math.log(v / a) / Math.log(b / a) : p + (q - p) * (v - a) / (b - a);
      const X = v => place(v, x0, x1, left, right, spec.x.log && !categories);
      const Y = v => place(bend(v), bend(y0), bend(y1), bottom, top, spec.y.log);
      const seen = (v, log) => v !== null && (!log || v > 0);
      const powers = [...Array(12).keys()].map(k => spec.y.linear * 10 ** k).filter((_, k) => k % (Math.max(Math.abs(y0), y1) > spec.y.linear * 1e4 ? 2 : 1) === 0);
      const levels = spec.y.linear ? [0, ...powers, ...powers.map(v => -v)].filter(t => t > y0 && t < y1) : ticks(y0, y1, spec.y.log, 5);
      for (const t of levels) {
        draw(svg, "line", { class: "grid", x1: left, x2: right, y1: Y(t), y2: Y(t) });
        draw(svg, "text", { class: "tick", x: left - 6, y: Y(t) + 4, "text-anchor": "end" }, tickText(t, spec.y.log));
      }
      if (!spec.y.log && y0 < 0 && y1 > 0) draw(svg, "line", { class: "axis", x1: left, x2: right, y1: Y(0), y2: Y(0) });
      if (categories) {
        const room = (right - left) / names.length;
        names.forEach((name, i) => {
          // long names in two lines, at the words' border nearest to the middle
          const words = name.split(" "), lines = [name];
          if (name.length * 6.2 > room && words.length > 1) {
            const half = Math.ceil(words.length / 2);
            lines.splice(0, 1, words.slice(0, half).join(" "), words.slice(half).join(" "));
          }
          lines.forEach((line, j) => {
            const text = draw(svg, "text", { class: "tick", x: X(i), y: bottom + 16 + 13 * j, "text-anchor": "middle" }, line);
            if (line.length * 6.2 > room) { text.setAttribute("textLength", room - 4); text.setAttribute("lengthAdjust", "spacingAndGlyphs"); }
          });
        });
      } else {
        for (const t of ticks(x0, x1, spec.x.log, width < 500 ? 4 : 7)) {
          draw(svg, "line", { class: "grid", x1: X(t), x2: X(t), y1: bottom, y2: top });
          draw(svg, "text", { class: "tick", x: X(t), y: bottom + 16, "text-anchor": "middle" }, tickText(t, spec.x.log));
        }
        draw(svg, "text", { class: "label", x: (left + right) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, spec.x.label);
      }
      draw(svg, "line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
      draw(svg, "text", { class: "label", x: -(top + bottom) / 2, y: 14, transform: "rotate(-90)", "text-anchor": "middle" }, spec.y.label);
      series.forEach(s => {
        const colour = `s${s.colour % 8}`;
        if (categories) {
          const i = names.indexOf(s.name), m = median(s.y);
          s.y.forEach((v, j) => seen(v, spec.y.log) && draw(svg, "circle", { class: `dot ${colour}`, r: 4, cx: X(i + (s.y.length > 1 ? 0.24 * (j / (s.y.length - 1) - 0.5) : 0)), cy: Y(v) }));
          if (s.y.length > 1 && seen(m, spec.y.log)) draw(svg, "line", { class: `line ${colour}`, x1: X(i - 0.26), x2: X(i + 0.26), y1: Y(m), y2: Y(m) });
          return;
        }
        const points = s.x.map((v, j) => [v, s.y[j]]).filter(([v, w]) => seen(v, spec.x.log) && seen(w, spec.y.log));
        if (s.kind !== "dots") draw(svg, "polyline", { class: `line ${s.kind} ${colour}`, points: points.map(([v, w]) => `${X(v).toFixed(1)},${Y(w).toFixed(1)}`).join(" ") });
        if (s.kind !== "line") points.forEach(([v, w]) => draw(svg, "circle", { class: `dot ${colour}`, r: 3, cx: X(v), cy: Y(w) }));
      });
      const cursor = spec.controls.findIndex(c => c.cursor);
      const told = [];
      if (cursor >= 0) {
        const at = positions()[state[cursor]];
        draw(svg, "line", { class: "cursor", x1: X(at), x2: X(at), y1: bottom, y2: top });
        names.forEach(name => {
          const group = series.filter(s => s.name === name);
          const there = group.map(s => s.y[s.x.indexOf(at)]).filter(v => v !== undefined && seen(v, spec.y.log));
          there.forEach(v => draw(svg, "circle", { class: `mark s${group[0].colour % 8}`, r: 5.5, cx: X(at), cy: Y(v) }));
          if (there.length) told.push(`${name}: ${there.length > 1 ? "median " : ""}${say(median(there))}`);
        });
      } else if (categories) {
        series.forEach(s => told.push(`${s.name}: ${s.y.length > 1 ? "median " : ""}${say(median(s.y))}`));
      }
      reading.textContent = told.join("; ") + (told.length ? "." : "");
      legend.replaceChildren(...(categories ? [] : names.map(name => {
        const item = make("li"), s = series.find(each => each.name === name);
        item.append(make("span", { class: `swatch s${s.colour % 8} ${s.kind}` }), name);
        return item;
      })));
    }
    const legend = make("ul", { class: "interactive-legend" });
    section.insertBefore(legend, reading);

    spec.controls.forEach((c, i) => {
      if (c.choice) {
        const group = board.appendChild(make("fieldset"));
        group.append(make("legend", {}, c.label));
        c.options.forEach((option, j) => {
          const label = group.appendChild(make("label"));
          const input = label.appendChild(make("input", { type: "radio", name: `${section.id}-${c.name}`, value: j }));
          input.checked = j === state[i];
          input.addEventListener("change", () => { state[i] = j; changed(); });
          label.append(` ${option}`);
        });
        return;
      }
      const label = board.appendChild(make("label", { class: "interactive-range" }));
      const said = make("output");
      label.append(make("span", {}, c.label));
      const input = label.appendChild(make("input", { type: "range", min: 0, max: 0, step: 1 }));
      label.append(said);
      const fit = () => {
        const options = c.cursor ? positions().map(say) : c.options;
        input.max = options.length - 1;
        state[i] = Math.min(state[i], options.length - 1);
        input.value = state[i];
        said.textContent = `${options[state[i]]}${c.unit ? ` ${c.unit}` : ""}`;
        input.setAttribute("aria-valuetext", said.textContent);
      };
      input.addEventListener("input", () => { state[i] = Number(input.value); changed(); });
      fits.push(fit);
    });
    function changed() { fits.forEach(fit => fit()); show(); }
    let last = 0;
    new ResizeObserver(() => { if (picture.clientWidth !== last) { last = picture.clientWidth; show(); } }).observe(picture);
    changed();
  }
  const begin = () => document.querySelectorAll("section.interactive").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin); else begin();
})();
