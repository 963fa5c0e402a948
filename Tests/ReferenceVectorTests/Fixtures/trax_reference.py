# An independent NumPy implementation of the Trax recipe, kept apart from the Swift sources on purpose: generate.py runs it to
# make the reference vectors beside it.
# Usage: python3 trax_reference.py WIDEN 64|32 [--fd]   (64: float64, 32: float32; --fd checks gradients by finite differences)
import numpy as np, sys, json
DT = np.float64 if (len(sys.argv) < 3 or sys.argv[2] == '64') else np.float32
K = int(sys.argv[1]) if len(sys.argv) > 1 else 1
N, NB = 4, 3

def pads(n, s):                      # SAME, 3x3
    out = -(-n // s); tot = max((out-1)*s + 3 - n, 0)
    return out, tot//2, tot - tot//2
class Conv:
    def __init__(s, ci, co, st): s.ci, s.co, s.st = ci, co, st; s.shapes = [(3,3,ci,co), (co,)]
    def fwd(s, x, p):
        w, b = p; n, h, wd, c = x.shape; s.xs = x.shape
        oh, pl, ph = pads(h, s.st); ow, ql, qh = pads(wd, s.st); s.g = (oh, ow, pl, ph, ql, qh)
        xp = np.pad(x, ((0,0),(pl,ph),(ql,qh),(0,0)))
        cols = np.empty((n, oh, ow, 9*c), x.dtype)
        for i in range(3):
            for j in range(3):
                cols[..., (i*3+j)*c:(i*3+j+1)*c] = xp[:, i:i+(oh-1)*s.st+1:s.st, j:j+(ow-1)*s.st+1:s.st, :]
        s.cols = cols.reshape(-1, 9*c)
        return (s.cols @ w.reshape(9*c, s.co)).reshape(n, oh, ow, s.co) + b
    def bwd(s, dy, p):
        w, b = p; d = dy.reshape(-1, s.co); n, h, wd, c = s.xs; oh, ow, pl, ph, ql, qh = s.g
        dw = (s.cols.T @ d).reshape(w.shape); db = d.sum(0)
        dc = (d @ w.reshape(-1, s.co).T).reshape(n, oh, ow, 9*c)
        dxp = np.zeros((n, h+pl+ph, wd+ql+qh, c), dy.dtype)
        for i in range(3):
            for j in range(3):
                dxp[:, i:i+(oh-1)*s.st+1:s.st, j:j+(ow-1)*s.st+1:s.st, :] += dc[..., (i*3+j)*c:(i*3+j+1)*c]
        return dxp[:, pl:pl+h, ql:ql+wd, :], [dw, db]
class BN:
    def __init__(s, c): s.c = c; s.shapes = [(c,), (c,)]; s.rm = np.zeros(c, DT); s.rv = np.ones(c, DT)
    def fwd(s, x, p):
        be, ga = p; m = x.mean((0,1,2)); v = ((x-m)**2).mean((0,1,2))
        s.rm_new = 0.9*s.rm + 0.1*m; s.rv_new = 0.9*s.rv + 0.1*v
        s.sd = np.sqrt(v + DT(1e-5)); s.z = (x-m)/s.sd
        return ga*s.z + be
    def bwd(s, dy, p):
        be, ga = p; dz = dy*ga; ax = (0,1,2)
        dx = (dz - dz.mean(ax) - s.z*(dz*s.z).mean(ax))/s.sd
        return dx, [dy.sum(ax), (dy*s.z).sum(ax)]
class Relu:
    shapes = []
    def fwd(s, x, p): s.m = x > 0; return np.where(s.m, x, 0)
    def bwd(s, dy, p): return np.where(s.m, dy, 0), []
class Seq:
    def __init__(s, ls): s.ls = ls; s.shapes = sum([l.shapes for l in ls], [])
    def fwd(s, x, p):
        i = 0
        for l in s.ls:
            k = len(l.shapes); x = l.fwd(x, p[i:i+k]); i += k
        return x
    def bwd(s, dy, p):
        gs = []; i = len(p)
        for l in reversed(s.ls):
            k = len(l.shapes); dy, g = l.bwd(dy, p[i-k:i]); i -= k; gs = g + gs
        return dy, gs
class Res:
    def __init__(s, main, sc=None): s.main, s.sc = main, sc; s.k = len(sc.shapes) if sc else 0; s.shapes = (sc.shapes if sc else []) + main.shapes
    def fwd(s, x, p):
        a = s.sc.fwd(x, p[:s.k]) if s.sc else x
        return a + s.main.fwd(x, p[s.k:])
    def bwd(s, dy, p):
        dm, gm = s.main.bwd(dy, p[s.k:])
        if s.sc: da, ga = s.sc.bwd(dy, p[:s.k]); return da+dm, ga+gm
        return dy+dm, gm
def block(ci, co, st): return [BN(ci), Relu(), Conv(ci, co, st), BN(co), Relu(), Conv(co, co, 1)]
def group(ci, co, st, n): return [Res(Seq(block(ci, co, st)), Conv(ci, co, st)), Res(Seq(sum([block(co, co, 1) for _ in range(n-1)], [])))]
class Pool:
    shapes = []
    def fwd(s, x, p): s.sh = x.shape; return x.mean((1,2))
    def bwd(s, dy, p): return np.broadcast_to(dy[:,None,None,:]/(s.sh[1]*s.sh[2]), s.sh).copy(), []
class Dense:
    def __init__(s, a, b): s.shapes = [(a,b),(b,)]
    def fwd(s, x, p): s.x = x; return x @ p[0] + p[1]
    def bwd(s, dy, p): return dy @ p[0].T, [s.x.T @ dy, dy.sum(0)]
def build(k, n=3):
    c1, c2, c3 = 16*k, 32*k, 64*k
    return Seq([Conv(3,16,1)] + group(16,c1,1,n) + group(c1,c2,2,n) + group(c2,c3,2,n) + [BN(c3), Relu(), Pool(), Dense(c3,10)])
# A plain residual network: an identity skip for every block; where the shape changes, a convolution of the raw input.
def plain(k, n=2):
    ls = [Conv(3,16,1)]; ci = 16
    for co, st in ((16*k, 1), (32*k, 2), (64*k, 2)):
        for b in range(n):
            first = b == 0
            ls.append(Res(Seq(block(ci, co, st if first else 1)), Conv(ci, co, st) if first and (ci != co or st > 1) else None)); ci = co
    return Seq(ls + [BN(ci), Relu(), Pool(), Dense(ci,10)])
net = plain(K) if '--plain' in sys.argv else build(K)
shapes = net.shapes
print('arrays', len(shapes), 'params', sum(int(np.prod(s)) for s in shapes))
# deterministic parameters
P = []; prev4 = False
flat_kinds = []
def kinds(m):
    out = []
    if isinstance(m, Seq):
        for l in m.ls: out += kinds(l)
    elif isinstance(m, Res):
        out += (kinds(m.sc) if m.sc else []) + kinds(m.main)
    elif isinstance(m, Conv): out += ['kernel', 'bias']
    elif isinstance(m, BN): out += ['beta', 'gamma']
    elif isinstance(m, Dense): out += ['dense', 'bias']
    return out
KD = kinds(net); assert len(KD) == len(shapes)
for i, (sh, kd) in enumerate(zip(shapes, KD)):
    n = int(np.prod(sh)); j = np.arange(n, dtype=np.uint64)
    h = (j*np.uint64(2654435761) + np.uint64(i)*np.uint64(40503) + np.uint64(12345)) % np.uint64(65536)   # 0..65535
    u = h.astype(np.float64)/32768.0 - 1.0                       # [-1,1)
    if kd == 'kernel': v = u*np.sqrt(6.0/(sh[2]+sh[3]))
    elif kd == 'dense': v = u*np.sqrt(6.0/(sh[0]+sh[1]))
    elif kd in ('bias', 'beta'): v = 0.01*u
    else: v = 1.0 + 0.1*u
    P.append(v.reshape(sh).astype(DT))
n_, h_, w_, c_ = np.meshgrid(np.arange(N), np.arange(32), np.arange(32), np.arange(3), indexing='ij')
X = ((h_*37 + w_*61 + c_*17 + n_*101 + h_*w_*(n_+3)) % 256).astype(DT)
Y = np.array([(3*n+1) % 10 for n in range(N)])
def lossgrad(P):
    lg = net.fwd(X, P); mx = lg.max(1, keepdims=True)
    lse = mx + np.log(np.exp(lg-mx).sum(1, keepdims=True)); lp = lg - lse
    L = -lp[np.arange(N), Y].mean()
    d = np.exp(lp); d[np.arange(N), Y] -= 1; d /= N
    _, g = net.bwd(d, P)
    return L, lg, g
if __name__ == '__main__':
    np.set_printoptions(precision=8, suppress=False, linewidth=160)
    L, lg, G = lossgrad(P)
    print('pixel sum', X.sum(), 'X[1,2,3,:]', X[1,2,3], 'labels', Y)
    print('loss0 %.10f' % L); print('logits[0]', lg[0]); print('logits[3]', lg[3])
    gl = np.sqrt(sum((g.astype(np.float64)**2).sum() for g in G)); wl = np.sqrt(sum((p.astype(np.float64)**2).sum() for p in P))
    print('grad l2 %.10f weights l2 %.10f' % (gl, wl))
    for i in (0,1,2,4,5,6,8,10,28,54,80,81,82,83):
        print(i, KD[i], shapes[i], 'p0 %.9f' % P[i].ravel()[0], 'g0 %.10e' % G[i].ravel()[0], 'gsum %.10e' % G[i].sum(), 'gl2 %.10e' % np.sqrt((G[i].astype(np.float64)**2).sum()))
    bns = []
    def coll(m):
        if isinstance(m, Seq): [coll(l) for l in m.ls]
        elif isinstance(m, Res):
            if m.sc: coll(m.sc)
            coll(m.main)
        elif isinstance(m, BN): bns.append(m)
    coll(net)
    for t in (0, 1, 6, 12, 18): print('BN', t, 'rm[0] %.9f rv[0] %.9f' % (bns[t].rm_new[0], bns[t].rv_new[0]))
    if DT is np.float64 and '--fd' in sys.argv:
        for (i, jx) in ((0, 5), (2, 7), (10, 3), (54, 11), (80, 2)):
            o = P[i].ravel()[jx]; e = 1e-5*max(1, abs(o))
            P[i].reshape(-1)[jx] = o+e; a = lossgrad(P)[0]; P[i].reshape(-1)[jx] = o-e; b = lossgrad(P)[0]; P[i].reshape(-1)[jx] = o
            print('fd', i, jx, (a-b)/(2*e), G[i].ravel()[jx])
    m = [np.zeros_like(p) for p in P]; v = [np.zeros_like(p) for p in P]
    for step in range(1, 6):
        L, lg, G = lossgrad(P)
        for b in bns: b.rm, b.rv = b.rm_new, b.rv_new
        print('step', step, 'loss %.8f' % L)
        for i in range(len(P)):
            m[i] = 0.1*G[i] + 0.9*m[i]; v[i] = 0.001*G[i]**2 + 0.999*v[i]
            mh = m[i]/(1-0.9**(step+1)); vh = v[i]/(1-0.999**(step+1))
            P[i] = ((1-1e-5)*P[i] - 0.01*mh/(np.sqrt(vh)+1e-5)).astype(DT)
    L, lg, G = lossgrad(P); print('after 5 updates loss %.8f' % L, 'P0[0] %.9f' % P[0].ravel()[0], 'dense[0] %.9f' % P[82].ravel()[0], 'rm0 %.8f rv0 %.8f' % (bns[0].rm[0], bns[0].rv[0]))
