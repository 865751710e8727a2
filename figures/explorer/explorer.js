for (const root of document.querySelectorAll(".explorer")) {
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const SVG = "http://www.w3.org/2000/svg", WIDE = 340, HIGH = 240, LEFT = 50, TOP = 24, BOTTOM = 34;
  const NAMES = { standard: "standard", language: "language", gated_language: "gated language", visual: "visual, detached",
    visual_attached: "visual, attached", prior: "prior", shift: "shift" };
  const HUES = { gated_language: "language", visual_attached: "visual" };
  const find = name => root.querySelector(`[data-part="${name}"]`);
  const make = (tag, attributes = {}, ...inside) => {
    const one = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    one.append(...inside);
    return one;
  };
  const drawn = (tag, attributes, words) => {
    const one = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    if (words !== undefined) one.textContent = words;
    return one;
  };
  const short = (value, digits = 2) => {
    if (value === null || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-3 || size >= 1e4) ? value.toExponential(digits - 1) : value.toPrecision(digits + 1);
    return text.replace("-", "−").replace("e−", "e−").replace("e+", "e");
  };

  let chosen = null;
  const setting = () => ({ gamma: Number(find("gamma").value), lambda: Number(find("lambda").value),
    prior: root.querySelector("input[type=radio]:checked").value });

  // One scale for a loss over the whole range of the sliders: logarithmic either way from zero, linear in the middle.
  const scales = {};
  for (const loss of data.losses) {
    const sizes = [];
    for (const gamma of [0, data.most.gamma]) for (const lambda of [0, data.most.lambda]) for (const prior of ["detached", "attached"]) {
      const w = arithmetic.weights({ gamma, lambda, prior });
      for (const bin of data.bins) {
        const { mean, low, high } = arithmetic.change(bin, loss, w);
        sizes.push(...[mean, low, high].filter(value => value).map(Math.abs));
      }
    }
    for (const one of data.trial?.factor ? data.trial.settings : []) for (const bin of Object.values(one.changes)) {
      sizes.push(Math.abs(data.trial.factor * (bin[loss]?.[0] ?? 0)));
    }
    sizes.sort((a, b) => a - b);
    const most = sizes.at(-1) ?? 1, least = 10 ** Math.floor(Math.log10(sizes[Math.floor(0.3 * sizes.length)] ?? 1));
    const top = Math.max(Math.log10(most / least), 0.2) + 0.5;
    const place = value => Math.sign(value) * (Math.abs(value) <= least ? 0.5 * Math.abs(value) / least : 0.5 + Math.log10(Math.abs(value) / least));
    const middle = (TOP + HIGH - BOTTOM) / 2, half = (HIGH - TOP - BOTTOM) / 2;
    const decades = [];
    const first = Math.log10(least), last = Math.floor(Math.log10(most)), by = Math.max(1, Math.ceil((last - first) / 3));
    for (let power = last; power >= first; power -= by) decades.push(10 ** power, -(10 ** power));
    scales[loss] = { ticks: [0, ...decades], y: value => middle - half * Math.max(-1.03, Math.min(1.03, place(value) / top)) };
  }
  const numbered = data.bins.filter(bin => /^\d+$/.test(bin.label)).length;
  const GROUP = 1.55, step = (WIDE - LEFT - 10) / (numbered + GROUP * (data.bins.length - numbered));
  const width = place => (place < numbered ? step : GROUP * step);
  const x = place => LEFT + 6 + (place < numbered ? step * (place + 0.5) : step * (numbered + GROUP * (place - numbered + 0.5)));

  const tried = ({ gamma, lambda, prior }) => (data.trial?.settings ?? []).filter(one =>
    Math.abs(one.gamma - gamma) < 1e-9 && Math.abs(one.lambda - lambda) < 1e-9
    && (one.gamma === 0 || (one.prior === "attached") === (prior === "attached")));

  const panel = (loss, now) => {
    const svg = drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "group", "aria-label": `change of the ${loss} loss by bin`, "data-loss": loss });
    const { y, ticks } = scales[loss], hue = `var(--${loss})`;
    svg.append(drawn("text", { x: 0, y: 10, class: "title" }, `${loss} loss (nats / unit rate)`));
    for (const tick of ticks) {
      svg.append(drawn("line", { x1: LEFT, x2: WIDE, y1: y(tick), y2: y(tick), class: tick === 0 ? "zero" : "grid" }));
      svg.append(drawn("text", { x: LEFT - 4, y: y(tick) + 3, "text-anchor": "end" }, tick === 0 ? "0" : `${tick < 0 ? "−" : "+"}1e${Math.round(Math.log10(Math.abs(tick)))}`.replace("e-", "e−")));
    }
    const standard = arithmetic.weights({ gamma: 0, lambda: 0, prior: "detached" }), w = arithmetic.weights(now);
    data.bins.forEach((bin, place) => {
      const column = drawn("g", { class: bin.label === chosen ? "bin chosen" : "bin", tabindex: 0, role: "button", "data-bin": bin.label,
        "aria-label": `${bin.name}: list its tokens` });
      const { mean, low, high } = arithmetic.change(bin, loss, w), wide = Math.min(step * 0.6, 14);
      column.append(drawn("rect", { x: x(place) - width(place) / 2, y: TOP - 6, width: width(place), height: HIGH - TOP - BOTTOM + 20, class: "hit" }));
      if (low !== null) column.append(drawn("rect", { x: x(place) - wide / 2, width: wide, y: y(high), height: Math.max(y(low) - y(high), 1), fill: hue, class: "band" }));
      const base = y(arithmetic.change(bin, loss, standard).mean);
      column.append(drawn("line", { x1: x(place) - wide / 2 - 1, x2: x(place) + wide / 2 + 1, y1: base, y2: base, class: "standard" }));
      column.append(drawn("circle", { cx: x(place), cy: y(mean), r: 3.4, fill: hue }));
      tried(now).forEach((one, number) => {
        const change = one.changes[bin.label]?.[loss];
        if (!change || change[0] === null || !data.trial.factor) return;
        const [at, from, to] = change.map(value => (value === null ? null : y(data.trial.factor * value)));
        const cx = x(place) + wide / 2 + 1 + 6 * number, mark = drawn("g", { class: "tried", "data-prior": one.prior });
        if (from !== null) mark.append(drawn("line", { x1: cx, x2: cx, y1: from, y2: to }));
        mark.append(drawn("path", { d: `M${cx} ${at - 4}l3.5 4l-3.5 4l-3.5 -4z` }));
        mark.append(drawn("title", {}, `${one.prior}: ${change.map(value => short(value)).join(", ")} nats (change, and its interval)`));
        column.append(mark);
      });
      column.append(drawn("text", { x: x(place), y: HIGH - 20, "text-anchor": "middle" }, bin.label === "text" ? "no pic" : bin.label));
      svg.append(column);
    });
    svg.append(drawn("text", { x: (LEFT + x(numbered - 1)) / 2, y: HIGH - 5, "text-anchor": "middle" }, "VDS bin (0 = least visual)"));
    return svg;
  };

  const numbers = now => {
    const w = arithmetic.weights(now);
    find("numbers").replaceChildren(...data.bins.map(bin => {
      const cells = data.losses.map(loss => {
        const { mean, low, high } = arithmetic.change(bin, loss, w);
        const words = low === null ? short(mean) : `${short(mean)} (${short(low)} to ${short(high)})`;
        return make("td", { class: "number", "data-loss": loss, "data-mean": mean, "data-low": low, "data-high": high }, words);
      });
      return make("tr", { "data-bin": bin.label }, make("td", {}, bin.name), make("td", { class: "number" }, String(bin.tokens)), ...cells);
    }));
  };

  const pointing = now => {
    const { eta, norm, angles } = arithmetic.direction(data.gram, now);
    find("eta").textContent = short(eta);
    find("eta").dataset.value = eta;
    find("norm").textContent = short(norm);
    find("norm").dataset.value = norm;
    find("angles").replaceChildren(...Object.keys(NAMES).map(name => {
      const angle = angles[name], bar = make("span", { class: "bar" });
      bar.style.width = `${Number.isNaN(angle) ? 0 : angle / 1.8}%`;
      bar.style.background = `var(--${HUES[name] ?? name})`;
      return make("li", { "data-name": name, "data-value": angle }, make("span", { class: "name" }, NAMES[name]),
        make("span", { class: "track" }, bar), make("span", { class: "degrees" }, Number.isNaN(angle) ? "–" : `${angle.toFixed(0)}°`));
    }));
  };

  const listed = label => {
    const lists = data.tokens.bins;
    const labels = Object.keys(lists).filter(one => label === one || (one !== "text" && (label === "all" || (label === "high" && Number(one) >= data.upper))));
    return { of: labels.reduce((sum, one) => sum + lists[one].of, 0), tokens: labels.reverse().flatMap(one => lists[one].tokens).slice(0, 60) };
  };

  const tokens = now => {
    const place = find("tokens");
    if (chosen === null) {
      place.replaceChildren(make("p", { class: "soft" }, "Click a bin, or reach it by the keyboard, to list its tokens."));
      return;
    }
    const { of, tokens: shown } = listed(chosen), w = arithmetic.weights(now);
    const name = data.bins.find(bin => bin.label === chosen).name;
    const rows = shown.map(token => {
      const prompt = data.tokens.prompts[token.rollout], cell = make("td", { class: "said" });
      if (prompt?.png) cell.append(make("img", { src: `data:image/png;base64,${prompt.png}`, alt: "picture of the prompt" }));
      cell.append(make("span", { class: "context" }, token.before, make("mark", {}, token.text), token.behind));
      if (prompt) cell.append(make("span", { class: "soft" }, prompt.words));
      const changes = data.losses.map((loss, i) => make("td", { class: "number" }, token.changes ? short(arithmetic.along(token.changes[i], w)) : "–"));
      return make("tr", {}, cell, make("td", { class: "number" }, short(token.vds)), ...changes);
    });
    const head = make("tr", {}, make("th", {}, "Token in its response"), make("th", { class: "number" }, "VDS"), ...data.losses.map(loss => make("th", { class: "number" }, loss)));
    const words = `${name}: ${shown.length} of ${of} tokens. Those with a picture first, then those whose losses a step moves most. The last columns are the predicted change of each loss; a dash: the response made the step.`;
    place.replaceChildren(make("h4", {}, `Tokens of ${name}`), make("p", { class: "soft" }, words),
      make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows))));
  };

  const update = () => {
    const now = setting();
    find("gamma-value").textContent = now.gamma.toFixed(2);
    find("lambda-value").textContent = now.lambda.toFixed(3);
    const focus = document.activeElement?.closest?.(".bin"), at = focus && [focus.closest("svg").dataset.loss, focus.dataset.bin];
    find("panels").replaceChildren(...data.losses.map(loss => panel(loss, now)));
    if (at) find("panels").querySelector(`svg[data-loss="${at[0]}"] [data-bin="${at[1]}"]`).focus();
    pointing(now);
    numbers(now);
    tokens(now);
    for (const button of find("settings").querySelectorAll("button")) {
      const one = data.settings[button.dataset.place];
      button.setAttribute("aria-pressed", one.gamma === now.gamma && one.lambda === now.lambda && (one.gamma === 0 || one.prior === now.prior));
    }
  };

  const go = one => {
    find("gamma").value = one.gamma;
    find("lambda").value = one.lambda;
    for (const radio of root.querySelectorAll("input[type=radio]")) radio.checked = radio.value === one.prior;
    update();
  };

  data.settings.forEach((one, place) => {
    const button = make("button", { type: "button", class: "plain", "data-place": place }, one.name);
    button.addEventListener("click", () => go(one));
    find("settings").append(button);
  });
  root.addEventListener("input", update);
  const choose = event => {
    const bin = event.target.closest(".bin");
    if (!bin || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    chosen = bin.dataset.bin === chosen ? null : bin.dataset.bin;
    update();
  };
  find("panels").addEventListener("click", choose);
  find("panels").addEventListener("keydown", choose);
  go(data.settings[0]);
}
