// The arithmetic of `figures.explorer.sums` and `geometry.Gram` for one step; numbers alone, and no document.
const arithmetic = {
  SHORTEST: 1.4916681462400413e-154,  // whose square float64 holds in full
  SLACK: 0.05,                        // part by which rounding may break what holds of every Gram matrix

  /** The weights of a step in the order of `STEPPED`. */
  weights: ({ gamma, lambda, prior }) => [1, gamma, prior === "attached" ? gamma : 0, lambda],

  /** The change of a loss in a bin, and the ends of its interval; null without an interval. */
  change(bin, loss, w) {
    const mean = bin.mean[loss].reduce((sum, value, i) => sum + w[i] * value, 0);
    const square = bin.covariance[loss].reduce(
      (sum, row, i) => sum + w[i] * row.reduce((inner, value, j) => inner + w[j] * value, 0), 0);
    if (bin.t === null) return { mean, low: null, high: null };
    const half = bin.t * Math.sqrt(Math.max(square, 0));
    return { mean, low: mean - half, high: mean + half };
  },

  /** The change of a token's loss. */
  along: (values, w) => values.reduce((sum, value, i) => sum + w[i] * value, 0),

  /** A combination of gradients as weights in the order of the Gram matrix. */
  combined(gram, terms) {
    const w = gram.names.map(() => 0);
    for (const [name, weight] of Object.entries(terms)) {
      if (name === "visual_attached") {
        w[gram.names.indexOf("visual")] += weight;
        w[gram.names.indexOf("shift")] += weight;
      } else w[gram.names.indexOf(name)] += weight;
    }
    return w;
  },

  form(gram, a, b, size = value => value) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) {
      for (let j = 0; j < b.length; j++) {
        if (a[i] !== 0 && b[j] !== 0) sum += size(a[i]) * size(gram.values[i][j] ?? NaN) * size(b[j]);
      }
    }
    return sum;
  },

  norm(gram, a) {
    const square = this.form(gram, a, a);
    if (a.filter(weight => weight !== 0).length > 1 && square !== 0) {
      if (square < gram.resolution * this.form(gram, a, a, Math.abs)) return NaN;
    }
    return square >= 0 && square < Infinity ? Math.sqrt(square) : NaN;
  },

  angle(gram, a, b) {
    const [one, two] = [this.norm(gram, a), this.norm(gram, b)];
    if (!(one >= this.SHORTEST) || !(two >= this.SHORTEST)) return NaN;
    if (a.every((weight, i) => weight === b[i])) return 0;
    const cosine = this.form(gram, a, b) / (one * two);
    return Math.abs(cosine) > 1 + this.SLACK ? NaN : Math.acos(Math.max(-1, Math.min(1, cosine))) * 180 / Math.PI;
  },

  /** Eta, the length of the step's gradient, and its angle in degrees to each objective. */
  direction(gram, { gamma, lambda, prior }) {
    const visual = prior === "attached" ? "visual_attached" : "visual";
    const steered = this.combined(gram, { standard: 1, [visual]: gamma });
    const step = this.combined(gram, { standard: 1, [visual]: gamma, gated_language: lambda });
    const standard = this.combined(gram, { standard: 1 });
    const eta = this.norm(gram, standard) / this.norm(gram, steered);
    const angles = {};
    for (const name of [...gram.names, "visual_attached"]) {
      angles[name] = this.angle(gram, step, this.combined(gram, { [name]: 1 }));
    }
    return { eta: Number.isFinite(eta) ? eta : NaN, norm: this.norm(gram, step), angles };
  },
};
