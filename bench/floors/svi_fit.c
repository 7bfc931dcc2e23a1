/* The least that a fit of SVI slices is: Levenberg-Marquardt on the quotes until it converges, from a known start.
   Same loss within and outside bid-ask as ours, same five numbers; no search for a start, no bound on outliers, no
   prior, no look at arbitrage. Quotes come prepared, in columns. */
#include <math.h>
#include <string.h>

enum { N = 5, SUMS = 21 };

static double pass(int n, const double *x, const double *bid, const double *ask, const double *target,
                   const double *per_scale, const double *u, double *g, double *h) {
    const double l = u[0], p = u[1], q = u[2], m = u[3], ss = exp(2 * u[4]), r0 = sqrt(m * m + ss);
    const double angle = 0.5 * (p + q), m0 = m / r0, i0 = 1 / r0;
    double loss = 0, g0 = 0, g1 = 0, g2 = 0, g3 = 0, g4 = 0;
    double a00 = 0, a10 = 0, a11 = 0, a20 = 0, a21 = 0, a22 = 0, a30 = 0, a31 = 0, a32 = 0, a33 = 0, a40 = 0, a41 = 0,
           a42 = 0, a43 = 0, a44 = 0;
    for (int i = 0; i < n; i++) {
        double z = x[i] - m, r = sqrt(z * z + ss), ir = 1 / r;
        double d1 = 0.5 * (r - r0 - x[i]), d2 = 0.5 * (r - r0 + x[i]);
        double d3 = -angle * (z * ir + m0), d4 = angle * ss * (ir - i0);
        double y = l + p * d1 + q * d2, s = per_scale[i];
        double near = fmin(fmax(y, bid[i]), ask[i]);
        double missed = (y - near) * s, within = (near - target[i]) * s;
        double am = fabs(missed), aw = fabs(within), far = fmax(am, 1.0);
        loss += (am > 1.0 ? am - 0.5 : 0.5 * am * am) + 0.1 * aw * (0.5 * aw + am);
        double f = s * (missed / far + 0.1 * within);
        double c = s * s * ((am > 0 ? 1 / far : 0) + 0.1 * aw / (aw + am + 1e-300));
        g0 += f; g1 += f * d1; g2 += f * d2; g3 += f * d3; g4 += f * d4;
        a00 += c; a10 += c * d1; a20 += c * d2; a30 += c * d3; a40 += c * d4;
        a11 += c * d1 * d1; a21 += c * d2 * d1; a31 += c * d3 * d1; a41 += c * d4 * d1;
        a22 += c * d2 * d2; a32 += c * d3 * d2; a42 += c * d4 * d2;
        a33 += c * d3 * d3; a43 += c * d4 * d3; a44 += c * d4 * d4;
    }
    double gs[N] = {g0, g1, g2, g3, g4};
    double hs[N * N] = {a00, 0, 0, 0, 0, a10, a11, 0, 0, 0, a20, a21, a22, 0, 0, a30, a31, a32, a33, 0,
                        a40, a41, a42, a43, a44};
    memcpy(g, gs, sizeof gs);
    memcpy(h, hs, sizeof hs);
    return loss;
}

static int step(const double *g, const double *h, double damping, double *d) {
    double L[N][N];
    for (int i = 0; i < N; i++) {
        d[i] = -g[i];
        for (int j = 0; j <= i; j++) {
            double v = h[i * N + j] * (i == j ? 1 + damping : 1);
            for (int k = 0; k < j; k++) v -= L[i][k] * L[j][k];
            if (i == j && v <= 0) return 0;
            L[i][j] = i == j ? sqrt(v) : v / L[j][j];
        }
        for (int k = 0; k < i; k++) d[i] -= L[i][k] * d[k];
        d[i] /= L[i][i];
    }
    for (int i = N - 1; i >= 0; i--) {
        for (int k = i + 1; k < N; k++) d[i] -= L[k][i] * d[k];
        d[i] /= L[i][i];
    }
    return 1;
}

/* `points` (slices x 5) are moved; returns the passes over a slice's quotes, all slices together. */
int fit(int slices, int n, const double *x, const double *bid, const double *ask, const double *target,
        const double *per_scale, double *points) {
    int passes = 0;
    for (int slice = 0; slice < slices; slice++, x += n, bid += n, ask += n, target += n, per_scale += n) {
        double *u = points + slice * N, g[N], h[N * N], g2[N], h2[N * N], d[N], trial[N], damping = 1e-3;
        double loss = pass(n, x, bid, ask, target, per_scale, u, g, h);
        passes++;
        for (int turn = 0; turn < 100 && damping < 1e9; turn++) {
            if (!step(g, h, damping, d)) { damping *= 10; continue; }
            for (int i = 0; i < N; i++) trial[i] = u[i] + d[i];
            double reached = pass(n, x, bid, ask, target, per_scale, trial, g2, h2);
            passes++;
            if (!(reached < loss)) { damping *= 3; continue; }
            int done = loss - reached <= 1e-7 * loss;
            memcpy(u, trial, sizeof trial); memcpy(g, g2, sizeof g); memcpy(h, h2, sizeof h);
            loss = reached;
            damping /= 3;
            if (done) break;
        }
    }
    return passes;
}
