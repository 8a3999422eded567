# %% [markdown]
# # 18 Reading features
#
# **What did it learn?** You read a trained net in four ways, k-NN, a linear
# probe, segmentation and k-means, and find out when a number means something.

# %% [markdown]
# Whether features are good, only a task can tell, and a task can be set so that
# everything looks good.
#
# After this lesson you can
#
# - find a leak between train and test,
# - write k-NN, a linear probe and mIoU, and check them,
# - choose token, norm and k before the test,
# - say when linear beats k-NN, and when not,
# - set every number beside chance, raw pixels and the untrained net.
#
# | | |
# |---|---|
# | you need | lessons 06, 16 |
# | time | 50 minutes |
# | module | `dinolite/eval/`: `knn`, `linear`, `segmentation` |
# | official | `eval/knn.py`, `eval/linear.py`, `eval/segmentation/` |
# | paper | DINO App. F.1; DINOv3 Sec. 6.1.2, 6.2.1 |

# %%
import inspect
import matplotlib.pyplot as plt
import torch
from dinolite.data.demo_pictures import photographs, scenes
from dinolite.eval import features, knn, linear, segmentation
from dinolite.models import pretrained
from dinolite.viz.groups import groups_figure, patch_groups
from dinolite_course import check, figures as viz, progress
from dinolite_course.measures import regions, sgd_probe
from sklearn import cluster, linear_model, metrics, neighbors

# %% [markdown]
# ## The map

# %%
viz.pipeline_map("18")
plt.show()

# %% [markdown]
# *Figure: the pipeline. The box "read features" is lit, in the frame
# "afterwards".*
#
# ## Whom we ask, and what
#
# Three readers see the same pictures. *Trained*: the weights that come with the
# course, a ViT of width $D = 64$. It saw no label, and only those parts of the
# photographs from which we cut training windows. *Untrained*: the same net before
# its first step. *Raw pixels*: no net at all.
#
# The task: from which of 16 photographs was this grey window cut? Guessing is
# right once in 16 times, 6 %.

# %%
F, NAMES = torch.nn.functional, photographs.CLASSES
C = len(NAMES)
trained = pretrained.load("dinolite_tiny")
untrained = pretrained.untrained_twin(trained)  # the start of its run
nets = {"untrained": untrained, "trained": trained}
HOW = {"mean": (0.5,) * 3, "std": (0.2,) * 3}  # as in its training
train, train_y = photographs.make_windows(3000, "train", seed=1, size=48)
test, test_y = photographs.make_windows(600, "test", seed=2, size=48)
print("train", list(train.shape), "test", list(test.shape))
eight = dict(zip([NAMES[y] for y in test_y], test, strict=True))
viz.compare_figure(dict(list(eight.items())[:8]))
plt.show()

# %% [markdown]
# *Figure: eight grey windows of 48 x 48 pixels, each under the name of the
# photograph that it was cut from. Some, such as bricks, show a texture; others
# are hard to name.*
#
# From a net we keep five vectors per picture: the [CLS
# token](GLOSSARY.md#cls-token), the mean of the patches, both side by side
# (*joined*), the mean of the [registers](GLOSSARY.md#register), and the CLS token
# before the final norm.


# %%
@torch.no_grad()
def tokens(net, images):
    kept = []
    for batch in images.split(200):
        out = net(features.preprocess(batch, **HOW), is_training=True)
        cls = out["x_norm_clstoken"]
        mean = out["x_norm_patchtokens"].mean(dim=1)
        registers = out["x_storage_tokens"].mean(dim=1)
        joined = torch.cat([cls, mean], dim=1)
        kept.append((cls, mean, joined, registers, out["x_prenorm"][:, 0]))
    names = ["CLS", "mean patch", "joined", "registers", "CLS, no norm"]
    vectors = map(torch.cat, zip(*kept, strict=True))
    return dict(zip(names, vectors, strict=True))


seen = {n: (tokens(net, train), tokens(net, test)) for n, net in nets.items()}
for token, x in seen["trained"][0].items():
    print(f"{token:13} {list(x.shape)}")
ours = features.extract_features(nets["trained"], test[:50], **HOW)
joined = seen["trained"][1]["joined"]
torch.testing.assert_close(ours.joined(), joined[:50], atol=1e-4, rtol=0)

# %% [markdown]
# The package's `extract_features` gives the same. For raw pixels we take a
# strong simple form: 8 x 8 pixels, each picture's mean subtracted.

# %%
PIXELS = [features.pixel_features(p, 8) for p in (train, test)]
PIXELS = [x - x.mean(dim=1, keepdim=True) for x in PIXELS]
readers = {"raw pixels": tuple(PIXELS)}
for name, (x, q) in seen.items():
    readers[name] = (x["CLS"], q["CLS"])
for name, (x, q) in readers.items():
    print(f"{name:10} {list(x.shape)} {list(q.shape)}")

# %% [markdown]
# ## The failure first: a test that was trained on
#
# The usual way: shuffle what you have, keep a fifth for the test. We do that
# with the 3000 training windows, and classify by the 10 nearest
# ([k-NN](GLOSSARY.md#k-nn), built below). Beside it the package's test, with the
# same 2400 windows to search.

# %%
torch.manual_seed(0)
hidden = torch.zeros(3000, dtype=torch.bool)
hidden[torch.randperm(3000)[:600]] = True
bank_y = train_y[~hidden]


def accuracy(bank, bank_y, q, q_y, k=10):
    return knn.knn_accuracy(bank, bank_y, q, q_y, [k])[k]


print("k-NN, %      shuffled  package's test")
for name, (x, q) in readers.items():
    leaky = accuracy(x[~hidden], bank_y, x[hidden], train_y[hidden])
    clean = accuracy(x[~hidden], bank_y, q, test_y)
    print(f"{name:12} {100 * leaky:5.0f} {100 * clean:12.0f}")

# %% [markdown]
# With a shuffled split raw pixels gain about twenty points, for nothing, and come
# near what the trained net reaches in the clean test. Why? Paint, on each
# photograph, what the 2400 windows cover. How much of a test window has been
# seen?

# %%
boxes = photographs.window_boxes(3000, "train", 1)  # the same draw, as boxes
others = photographs.window_boxes(600, "test", 2)
grey = photographs.grey_photographs()
painted = [torch.zeros(g.shape) for g in grey]


def places(boxes, which):
    for y, left, top, side in torch.stack(boxes, dim=1)[which].tolist():
        yield y, slice(top, top + side), slice(left, left + side)


for y, rows, columns in places(boxes, ~hidden):
    painted[y][rows, columns] = 1
for name, b, which in [
    ("shuffled", boxes, hidden),
    ("package's test", others, slice(None)),
]:
    share = [painted[y][r, c].mean() for y, r, c in places(b, which)]
    share = torch.stack(share)
    most, none = (share > 0.9).float().mean(), (share == 0).float().mean()
    print(f"{name}: {100 * most:.0f} % of the windows were seen to over 90 %,")
    print(f"{'':{len(name)}}  {100 * none:.0f} % not at all")
shown = {}
for i in [0, 5, 15]:
    light = grey[i] * (0.25 + 0.75 * painted[i]) / 255
    small = features.scaled((255 * light).byte().expand(1, 3, -1, -1), 112)
    shown[NAMES[i]] = small[0]
viz.compare_figure(shown, width=7)
plt.show()

# %% [markdown]
# *Figure: three grey photographs. Dark areas run down the diagonal of each, from
# upper left to lower right; most of the rest is bright.*
#
# Bright is what the windows for search have covered. The diagonal was kept out of
# all of them, and the package's test windows lie there.
#
# > **Watch out.** Frames of one video, scans of one patient, crops of one
# > picture: shuffle the videos, patients or pictures, never the pieces.

# %% [markdown]
# ## By hand: three neighbours vote
#
# A query points along $(1, 0)$. In the bank: a cat with cosine 0.96, two dogs
# with cosine 0.8, and one more dog, farther away. With $k = 3$ the cat is
# outnumbered. But k-NN weighs votes: $\text{softmax}(\cos / T)$ with a
# [temperature](GLOSSARY.md#temperature) $T$.
#
# The cat's cosine is 0.16 above each dog's. At $T = 0.07$ its vote weighs
# $e^{0.16 / 0.07} = 9.83$ times one of theirs, a share of $9.83 / (9.83 + 2) =
# 0.83$. At $T = 1$: $e^{0.16} = 1.17$, and $1.17 / 3.17 = 0.37$. The dogs win.

# %%
CAT, DOG = 0, 1
toy = torch.tensor([[0.96, 0.28], [0.8, 0.6], [0.8, -0.6], [6.0, 8.0]])
toy_y = torch.tensor([CAT, DOG, DOG, DOG])
query = torch.tensor([[1.0, 0.0]])
for T, by_hand in [(0.07, 0.83), (1.0, 0.37)]:
    shares = knn.knn_classify(toy, toy_y, query, [3], temperature=T)[3]
    print(f"T = {T}: cat {shares[0, CAT]:.2f}, dog {shares[0, DOG]:.2f}")
    assert abs(shares[0, CAT] - by_hand) < 0.005

# %% [markdown]
# ## Rung 1: loops
#
# For one query: all cosines, the k highest, their weights, one vote after the
# other.


# %%
def knn_loops(bank, labels, queries, k, T=0.07):
    result = torch.zeros(len(queries), C)
    for i, q in enumerate(queries):
        cosines = [q @ x / (q.norm() * x.norm()) for x in bank]
        order = sorted(range(len(bank)), key=lambda j: -cosines[j])[:k]
        powers = [(cosines[j] / T).exp() for j in order]
        for j, power in zip(order, powers, strict=True):
            result[i, labels[j]] += power / sum(powers)
    return result


x, q = readers["trained"]
slow = knn_loops(x[:200], train_y[:200], q[:10], k=10)
print("shares [m, C]", list(slow.shape))

# %% [markdown]
# ## Rung 2: vectorised, and the package
#
# All queries at once. Unit length first: then a dot product is a cosine.


# %%
def knn_fast(bank, labels, queries, k, T=0.07):
    cosines = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    values, near = cosines.topk(k, dim=1)  # [m, k]
    weights = (values / T).softmax(dim=1)  # [m, k]
    votes = weights[:, :, None] * F.one_hot(labels[near], C)  # [m, k, C]
    return votes.sum(dim=1)


some = (x[:200], train_y[:200], q[:10])
torch.testing.assert_close(knn_fast(*some, k=10), slow)
package = knn.knn_classify(*some, ks=[10])[10]  # up to the highest label
torch.testing.assert_close(package, slow[:, : package.shape[1]])
print(f"largest difference {(knn_fast(*some, k=10) - slow).abs().max():.3f}")

# %% [markdown]
# ## Look at it: retrieval
#
# Without the vote it is [retrieval](GLOSSARY.md#retrieval): show me pictures
# like this one. (`nearest` is a `topk` that keeps ties in order.)

# %%
print(inspect.getsource(knn.nearest_pictures))
asked = [int((test_y == y).nonzero()[0]) for y in [0, 8, 12]]
near = {
    name: knn.nearest_pictures(x, q[asked], 4)
    for name, (x, q) in list(readers.items())[::2]  # raw pixels, trained
}
viz.neighbours_figure(train, train_y, test[asked], test_y[asked], near)
plt.show()

# %% [markdown]
# *Figure: three rows. First a test picture, then its four nearest training
# pictures by raw pixels, then four by the trained net. A green frame says same
# photograph, an orange one another. For the astronaut's suit both are wrong. For
# stones raw pixels bring blurred pictures, the trained net stones and once grass;
# for printed letters it brings letters. (Half of all windows are mirrored.)*
#
# Three rows are a look, not a measure. All 600, the share of the four nearest
# that are right (chance is 6 %):

# %%
for name, (x, q) in readers.items():
    found = train_y[knn.nearest_pictures(x, q, 4)]  # [600, 4]
    right = (found == test_y[:, None]).float().mean()
    print(f"{name:10} {100 * right:.0f} %")

# %% [markdown]
# ## Which k?
#
# The same for many k, in the clean test and in the shuffled one.

# %%
KS = [1, 5, 10, 20, 50, 100, 200]
curves = {"package's test": {}, "shuffled": {}}
for name, (x, q) in readers.items():
    clean = knn.knn_accuracy(x, train_y, q, test_y, KS)
    leaky = knn.knn_accuracy(
        x[~hidden], bank_y, x[hidden], train_y[hidden], KS
    )
    curves["package's test"][name] = [100 * a for a in clean.values()]
    curves["shuffled"][name] = [100 * a for a in leaky.values()]
viz.lines_figure(curves, KS, "k", "right, %", {"chance": 100 / C})
plt.show()

# %% [markdown]
# *Figure: two panels over k, from 1 to 200. On the left, the package's test, the
# trained line is nearly flat, well above the other two, raw pixels above
# untrained. On the right, the shuffled test, raw pixels and trained lie much
# higher, untrained a little.*
#
# The trained net hardly cares about k. So fix it before the test; this package
# reports 10 and 20. What does the best k of seven *on the test* gain? With 60 test
# pictures, more than you may think:

# %%
x, q = readers["trained"]
votes = knn.knn_classify(x, train_y, q, KS)
right = torch.stack([v.argmax(dim=1) == test_y for v in votes.values()])
parts = right.float().unflatten(1, (10, 60)).mean(dim=2)  # [7, 10]
gain = parts.max(dim=0).values - parts[KS.index(10)]  # over k = 10
low, high = (100 * gain.min(), 100 * gain.max())
print(f"gain in ten tests of 60: from {low:.0f} to {high:.0f} points,")
print(f"on average {100 * gain.mean():.1f}")

# %% [markdown]
# A gain without any better feature. It can only go up.
#
# ## Which token do I take? Which norm?
#
# All five, by k-NN with $k = 10$, and by a linear probe (built below).

# %%
ridge = linear.ridge_probe
for name, (x, q) in seen.items():
    print(f"{name}, %       k-NN  linear")
    for token in x:
        by_knn = accuracy(x[token], train_y, q[token], test_y)
        probe = ridge(x[token], train_y).accuracy(q[token], test_y)
        print(f"  {token:14} {100 * by_knn:5.0f} {100 * probe:7.0f}")

# %% [markdown]
# Within five points all tokens of the trained net are alike, and two points are
# noise here (see below). Before or after the final norm: hardly a difference; the
# official tools read after it. The task of a CLS token is the whole picture; k-NN
# and retrieval take it. A linear probe may have more: CLS and mean patch, joined.
# For places in the picture take patches.
#
# > **Tutor's note.** Register tokens do well. They are still left out: the usual
# > protocols do not read them, so you could compare with nobody.

# %% [markdown]
# ## Do I normalise?
#
# Look at the toy's last dog, $(6, 8)$: cosine 0.6, the farthest, but the dot
# product with the query is 6, by far the largest. Without unit length, long
# vectors are everyone's neighbours.


# %%
def by_dot(bank, queries, k=10):  # every neighbour has one vote
    near = (queries @ bank.T).topk(k, dim=1).indices
    votes = F.one_hot(train_y[near], C).sum(dim=1)
    return (votes.argmax(dim=1) == test_y).float().mean()


print("nearest by dot product:", int((query @ toy.T).argmax()))
print("k-NN, %     cosine  dot product")
plain = [features.pixel_features(p, 8) for p in (train, test)]
for name, (x, q) in {"pixels": plain, **readers}.items():
    by_cosine = by_dot(F.normalize(x), F.normalize(q))
    print(f"{name:11} {100 * by_cosine:5.0f} {100 * by_dot(x, q):9.0f}")

# %% [markdown]
# Here each neighbour has one vote; *pixels* are those without subtracting the
# mean. Pixels lose nearly half. The nets lose a point or nothing: their final
# LayerNorm makes the lengths nearly equal. Normalise for k-NN and retrieval; it
# costs nothing.
#
# A linear probe needs no unit length. But it wants numbers of one size: the
# package standardises each of the $D$ numbers, by the train set.

# %% [markdown]
# ## The linear probe: by hand, then in closed form
#
# A [linear probe](GLOSSARY.md#linear-probe) is one matrix on frozen features. The
# package's `ridge_probe` minimises the mean of $|xW + b - y|^2$, with $y$
# one-hot, plus $r|W|^2$. The ridge $r$ keeps $W$ small.
#
# By hand: two pictures with one feature each, $x = -1$ of class 0 and $x = 1$ of
# class 1. For class 1 the targets are $(0, 1)$. The mean of $x$ is 0, so $b$ is
# their mean, 0.5, and $y = (-0.5, 0.5)$ is left for $w$. The slope is 0 at
#
# $$w = \frac{\text{mean}(x y)}{\text{mean}(x^2) + r} = \frac{0.5}{1 + r},$$
#
# which is 0.25 for $r = 1$.

# %%
pair, pair_y = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
fitted = linear.ridge_solutions(pair, pair_y, 2, [1.0])[0]
print("weight [D, C]", list(fitted.weight.shape), fitted.weight[0].tolist())
print("bias", fitted.bias.tolist())
assert abs(fitted.weight[0, 1] - 0.25) < 1e-6

# %% [markdown]
# ## Closed form and descent: where they agree
#
# The same loss has one lowest point. Gradient descent must arrive where the
# formula is. First as a loop over steps, with the gradient written out:

# %%
x, q = (part["CLS"] for part in seen["trained"])
fitted = linear.ridge_solutions(x, train_y, C, [1.0])[0]
z = ((x - fitted.shift) / fitted.scale).double()  # [3000, 64]
Y = F.one_hot(train_y, C).double()
bias = Y.mean(dim=0)
W = torch.zeros(64, C, dtype=torch.float64)
# The rate: 1 over the steepest curvature.
rate = 0.5 / (torch.linalg.eigvalsh(z.T @ z / len(z)).max() + 1)
for _step in range(600):
    off = z @ W + bias - Y  # [3000, 16]
    W = W - rate * 2 * (z.T @ off / len(z) + W)  # the ridge is 1
torch.testing.assert_close(W.float(), fitted.weight, atol=1e-4, rtol=0)
direct = torch.linalg.solve(
    z.T @ z / len(z) + torch.eye(64).double(), z.T @ (Y - bias) / len(z)
)
torch.testing.assert_close(direct.float(), fitted.weight, atol=1e-4, rtol=0)
off = [(w.float() - fitted.weight).abs().max() for w in (W, direct)]
print(f"largest difference to the package {max(off):.3f}")

# %% [markdown]
# The package differs in one thing: `ridge_solutions` finds eigenvectors once and
# then has every ridge at no cost. `ridge_probe` chooses $r$ on a tenth of the
# *training* pictures.
#
# ## And where they do not
#
# The official probe minimises another loss, cross-entropy, by SGD, and it stops
# after a fixed number of steps. `sgd_probe` does so, for ten learning rates side
# by side. Here are 300 steps on three forms of the same features: *plain*; each
# number divided by its deviation; and *whitened*, each direction divided by its
# deviation.


# %%
def whitened(x, q):
    mean = x.mean(dim=0)
    sizes, directions = torch.linalg.eigh(torch.cov(x.T.double()))
    turn = (directions / (sizes + 1e-5).sqrt()).float()  # [D, D]
    return (x - mean) @ turn, (q - mean) @ turn


for name, (x, q) in seen.items():
    x, q = x["joined"], q["joined"]
    exact = 100 * ridge(x, train_y).accuracy(q, test_y)
    row = [f"{name:10} ridge {exact:.0f} %, SGD:"]
    scale = x.std(dim=0)
    forms = {"plain": (x, q), "divided": (x / scale, q / scale)}
    forms["whitened"] = whitened(x, q)
    for form, (x, q) in forms.items():
        steps = sgd_probe.sgd_probe(x, train_y, iterations=300)
        row.append(f"{form} {100 * steps.accuracy(q, test_y):.0f} %")
    print(*row)

# %% [markdown]
# On the trained net SGD stays within five points of the formula. On the untrained
# net it does not, plain or divided: what tells the photographs apart lies in
# directions that hardly vary, and along these it moves slowly. The formula does
# not care, and whitening makes them loud for SGD, too.
#
# > **Watch out.** A low probe number may be the optimiser's fault. Look at a closed
# > form before you blame the net.

# %% [markdown]
# ## Why is linear better than k-NN, or the other way?
#
# A table with both, again chance 6 %:

# %%
tables = {"raw pixels": PIXELS}
tables |= {n: (x["joined"], q["joined"]) for n, (x, q) in seen.items()}
named = {}
print("%           k-NN  linear")
for name, (x, q) in tables.items():
    by_knn = knn.knn_classify(x, train_y, q, [10])[10].argmax(dim=1)
    probe = ridge(x, train_y).scores(q).argmax(dim=1)
    named[name] = by_knn
    scores = [100 * (p == test_y).float().mean() for p in (by_knn, probe)]
    print(f"{name:10} {scores[0]:5.0f} {scores[1]:7.0f}")

# %% [markdown]
# Three rows, three answers. **Raw pixels: k-NN.** A window moved by some pixels
# has other numbers everywhere; no weight per pixel fits all. But among 3000 there
# may be a similar one. **Untrained: linear.** The photograph is in there, in
# directions that hardly vary. k-NN hears the loud directions; a probe chooses.
# **Trained: equal.** What matters is now loud, too.
#
# The second case as a toy: one quiet number has the class, nine loud ones are
# noise.

# %%
torch.manual_seed(3)
toy_y = torch.arange(800) % 2
noise = 3 * torch.randn(800, 9)
quiet = (2.0 * toy_y - 1 + 0.3 * torch.randn(800))[:, None]
x = torch.cat([quiet, noise], dim=1)  # [800, 10]
fit, new = slice(0, 400), slice(400, 800)
by_knn = accuracy(x[fit], toy_y[fit], x[new], toy_y[new])
by_line = ridge(x[fit], toy_y[fit]).accuracy(x[new], toy_y[new])
print(f"k-NN {100 * by_knn:.0f} %, linear {100 * by_line:.0f} %")

# %% [markdown]
# The other way round, points that k-NN tells apart and no line does, is exercise
# 18.5.
#
# ## Who is taken for whom?
#
# One number hides which classes are mixed up. A [confusion
# matrix](GLOSSARY.md#confusion-matrix) counts: row = the truth, column = what was
# named.

# %%
counts = {
    name: segmentation.confusion_matrix(by_knn, test_y, C)
    for name, by_knn in list(named.items())[::2]  # raw pixels, trained
}
print("trained", list(counts["trained"].shape), int(counts["trained"].sum()))
viz.confusion_figure(counts, NAMES, height=4.6)
plt.show()

# %% [markdown]
# *Figure: two squares of 16 x 16 fields, rows and columns named after the
# photographs. Pixels: a few bright fields, and flower is named for many others.
# Trained: a diagonal; grass and gravel are taken for each other.*

# %%
for name, matrix in counts.items():
    share = matrix.diagonal() / matrix.sum(dim=1)
    print(f"{name:10} classes above 40 %: {int((share > 0.4).sum())} of {C}")
row = counts["trained"][NAMES.index("gravel")]
print("gravel is named:", [NAMES[i] for i in row.topk(2).indices])

# %% [markdown]
# ## Is my number good?
#
# Ask in this order.
#
# 1. What is *chance*? Here 6 %.
# 2. What do *raw pixels* and the *untrained* net reach? What is above them was
#    learned.
# 3. How large is the *noise*? A share $p$ of $n$ pictures moves by
#    $\sqrt{p(1 - p)/n}$ when other pictures are drawn.
# 4. Could the test have *leaked*?

# %%
for n in [60, 600, 50_000]:
    moves = (0.55 * 0.45 / n) ** 0.5
    print(f"{n:6} pictures: {100 * moves:.1f} points")

# %% [markdown]
# Twice that is a fair margin between two nets: 4 points with 600 pictures.
# The lead of the trained net over raw pixels is several times that. But windows
# of one photograph are relatives, so the true noise is larger.
#
# No number tells what is good in itself. It depends on task, classes and size of
# the bank; compare only inside one table.

# %% [markdown]
# ## Explore: query and k
#
# One test picture, its neighbours, and the vote. First as a figure.


# %%
def draw(picture, k):
    votes = {}
    for name in ["untrained", "trained"]:
        x, q = readers[name]
        one = q[picture : picture + 1]
        rows = knn.nearest_pictures(x, one, k)[0]
        shares = knn.knn_classify(x, train_y, one, [k])[k][0]
        votes[name] = viz.Vote(train[rows], train_y[rows], shares)
    label = int(test_y[picture])
    return viz.votes_figure(test[picture], label, votes, NAMES, shown=5)


draw(0, 10)
plt.show()

# %% [markdown]
# *Figure: two rows, untrained and trained: the query, stones, then its five nearest
# pictures, framed green where the photograph is the same and orange where not;
# at the right the three largest shares of the vote as bars, from 0 to 1.*

# %%
viz.explore(draw, picture=(0, 99, 1, 0), k=(1, 100, 1, 10))

# %% [markdown]
# *Figure: the same two rows under two sliders, picture and k. Move k up with
# picture 0, then with picture 30: one vote of the trained net turns from right to
# wrong, the other from wrong to right.*
#
# ## Patches: when a high number is nothing
#
# Now a class for every pixel. Drawn scenes, with objects of 8 classes on a
# background. Our answer needs no net: *background*, everywhere.

# %%
scene = scenes.make_scenes(100, seed=5)
nothing = torch.zeros_like(scene.masks)  # [100, 64, 64]
matrix = segmentation.confusion_matrix(nothing, scene.masks, 9)
print(f"right pixels {100 * matrix.diagonal().sum() / matrix.sum():.0f} %")
print(f"mIoU {100 * segmentation.miou(matrix):.0f} %")

# %% [markdown]
# Over three quarters of the pixels are right. So one counts
# [mIoU](GLOSSARY.md#miou): for each class the pixels both *in it and named so*,
# over those *in it or named so*; then the mean over classes.
#
# By hand, four pixels: truth 0 0 1 1, named 0 1 1 1. Class 0: both 1, either 2,
# so $1/2$. Class 1: both 2, either 3, so $2/3$. The mean is 0.583; right pixels
# are 0.75.

# %%
truth, said = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
loops = torch.zeros(2, 2, dtype=torch.int64)
for t, s in zip(truth, said, strict=True):
    loops[t, s] += 1
matrix = segmentation.confusion_matrix(said, truth, 2)
assert torch.equal(matrix, loops)
print(matrix.tolist(), f"mIoU {segmentation.miou(matrix):.3f}")
print(inspect.getsource(segmentation.iou))

# %% [markdown]
# ## Linear segmentation
#
# Mosaics: pieces of several photographs in one picture, and for each pixel the
# photograph it is from. A ridge probe names every patch; its scores are scaled up
# to pixels. Test mosaics are made of the held-out cells.

# %%
study = scenes.make_mosaics(160, "train", seed=3)
exam = scenes.make_mosaics(60, "test", seed=7)
study_masks, exam_masks = study.masks - 1, exam.masks - 1  # 0 is a class here


def patch_maps(images):  # {name: [n, D, 12, 12]}
    raw = segmentation.pixel_patches(images, 8, neighbourhood=True)
    maps = {"raw pixels": raw}
    for name, net in nets.items():
        maps[name] = features.extract_patches(net, images, **HOW)
    return maps


study_maps, exam_maps = patch_maps(study.images), patch_maps(exam.images)
for name, maps in exam_maps.items():
    print(f"{name:10} {list(maps.shape)}, masks {list(exam_masks.shape)}")

# %% [markdown]
# By hand, in the steps of `segmentation_probe`: a class per patch, a probe in
# which rare classes weigh as much as common ones, scores scaled up. Once plain,
# once after each patch became the mean of the 3 x 3 around it (*smooth*).


# %%
def segment(study, exam):
    x = study.permute(0, 2, 3, 1).flatten(0, 2)  # [n h w, D]
    y = segmentation.patch_labels(study_masks, (12, 12), C).flatten()
    kept_out = linear.held_out_tenth(len(study)).repeat_interleave(144)
    probe = ridge(x, y, C, hidden=kept_out, balanced=True)
    scores = probe.scores(exam.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    scores = F.interpolate(scores, size=(96, 96), mode="bilinear")
    return scores.argmax(dim=1)  # [m, 96, 96]


def smooth(maps):
    return F.avg_pool2d(maps, 3, 1, padding=1, count_include_pad=False)


drawn = {"truth": exam_masks}
print("mIoU, %     plain  smooth")
for name in study_maps:
    pair = study_maps[name], exam_maps[name]
    drawn[name] = segment(*map(smooth, pair))
    both = segment(*pair), drawn[name]
    both = [segmentation.confusion_matrix(m, exam_masks, C) for m in both]
    plain, soft = map(segmentation.miou, both)
    print(f"{name:11} {100 * plain:4.0f} {100 * soft:6.0f}")

# %%
result = segmentation.segmentation_probe(
    study_maps["trained"], study_masks, exam_maps["trained"], exam_masks, C
)
assert torch.equal(result.confusion, both[0])  # of the trained net, plain
one = torch.full_like(exam_masks, int(exam_masks.flatten().mode().values))
matrix = segmentation.confusion_matrix(one, exam_masks, C)
print(f"one class everywhere: mIoU {100 * segmentation.miou(matrix):.0f} %")

# %% [markdown]
# About three times the controls, and still a low number: each patch shows a few
# pixels, from a part of a photograph that was never seen.

# %% [markdown]
# ## Segmentation without labels: k-means
#
# [k-means](GLOSSARY.md#k-means) finds k groups of patches. Each patch joins the
# nearest centre; each centre moves to the mean of its patches; again, until
# nothing changes.


# %%
def k_means(x, centres, steps=50):
    for _step in range(steps):
        group = torch.cdist(x, centres).argmin(dim=1)  # [N]
        means = [x[group == k].mean(dim=0) for k in range(len(centres))]
        centres = torch.stack(means)
    return group


x = smooth(exam_maps["trained"])[0].flatten(1).T.double()  # [144, 64]
start = x[[0, 60, 143]]
theirs = cluster.KMeans(3, init=start.numpy(), n_init=1, tol=0).fit(x.numpy())
same = k_means(x, start) == torch.from_numpy(theirs.labels_)
print(f"{int(same.sum())} of {len(x)} patches as scikit-learn")

# %% [markdown]
# Now let it loose on *whole* photographs, four at once, into eight groups. Nobody
# names anything. `patch_groups` subtracts the mean, smooths, makes lengths 1 and
# calls k-means.
#
# To judge it we need a truth: the regions that somebody drew by hand over these
# photographs (*coin*, *cloth*, *petals*, *gland*). NMI, *normalised mutual
# information*, says how well groups and regions tell each other: 0 to 100 %. Which
# photographs? Of all sixteen, ordered by the number of regions, the 7th to 10th
# (lesson 19 shows the first six).

# %%
regional = regions.labelled()
names = regions.shown_photographs(10)[6:]
which = [list(regional.photos).index(name) for name in names]
whole = [features.square(regional.photos[name], 384) for name in names]
whole = features.as_grey(torch.cat(whole))
maps = {"pixels": segmentation.pixel_patches(whole, 8)}
for name, net in nets.items():
    maps[name] = features.extract_patches(net, whole, **HOW)
found, score = {}, {}
for name, x in maps.items():
    found[name] = patch_groups(x, 8)
    score[name] = regions.agreement(found[name], regional.labels[which])
a, b, c = (100 * s.nmi for s in score.values())
title = "Groups agree with hand-drawn regions:"
title += f" pixels {a:.0f}, untrained {b:.0f}, trained {c:.0f} %"
groups_figure(whole, found, 8, title, width=8).set_dpi(105)
plt.show()

# %% [markdown]
# *Figure: a flower, a retina, a tissue and coins; below them the groups of pixels,
# of the untrained and of the trained net. Only in the trained row the flower is one
# thing, glands are all of one colour, and coins stand out from the cloth.*

# %% [markdown]
# No label, no hint, eight groups, and there are a flower, glands and coins! Pixels
# and the untrained net draw rings of light and shade instead.
#
# Two doubts belong to it. Groups over several photographs may tell *which
# photograph* a patch is from; so here is the agreement inside each photograph, too.
# And *place*: groups of rows and columns alone.

# %%
found["place"] = patch_groups(regions.place(4), 8)
found["which photograph"] = torch.arange(4)[:, None, None].repeat(1, 48, 48)
print("NMI, %            over all  in a photograph")
for name, g in found.items():
    score = regions.agreement(g, regional.labels[which])
    row = 100 * score.nmi, 100 * score.nmi_in_picture
    print(f"{name:17} {row[0]:8.0f} {row[1]:16.0f}")

# %% [markdown]
# The trained net leads in both columns over pixels, untrained and place. But look
# at the last row: to know the photograph and nothing else is worth a lot over all,
# and of course nothing inside. The background of the flower and the retina are cut
# in two, although nothing is there: on plain areas these features drift.
#
# ## Predict, then run: and in torn pictures?
#
# Back to the mosaics from above, put together from torn pieces. In each as many
# groups as it has photographs; a group takes the name of the photograph that covers
# most of it; then mIoU. Two players join: *place*, each patch's row and column,
# nothing else, and *one group*. Guess the order of the five.

# %%
cells = segmentation.patch_labels(exam_masks, (12, 12), C)  # [60, 12, 12]
rows = torch.arange(12.0)[:, None].expand(12, 12)
place = torch.stack([rows, rows.T]).expand(60, 2, 12, 12)
several = [i for i in range(60) if len(cells[i].unique()) > 1]


def mosaic_scores(maps, one_group=False):
    scores = []
    for i in several:
        truth, x = cells[i].flatten(), maps[i].flatten(1).T.double()
        k = 1 if one_group else len(truth.unique())
        group = cluster.KMeans(k, n_init=1, random_state=0).fit(x.numpy())
        group, named = torch.from_numpy(group.labels_), truth.clone()
        for g in range(k):
            named[group == g] = truth[group == g].mode().values
        matrix = segmentation.confusion_matrix(named, truth, C)
        scores.append(segmentation.miou(matrix))
    return torch.tensor(scores)  # of the mosaics in `several`


# %%
print("mIoU, %     plain  smooth")
by = {}
for name, maps in exam_maps.items():
    unit = maps if name == "raw pixels" else F.normalize(maps, dim=1)
    plain, by[name] = mosaic_scores(unit).mean(), mosaic_scores(smooth(unit))
    print(f"{name:11} {100 * plain:4.0f} {100 * by[name].mean():6.0f}")
by["place"] = mosaic_scores(place)
by["one group"] = mosaic_scores(place, one_group=True)
for name in ["place", "one group"]:
    print(f"{name:11} {100 * by[name].mean():4.0f}")
for name in ["untrained", "place"]:
    lead = by["trained"] - by[name]  # smooth, one number per mosaic
    noise = lead.std() / len(lead) ** 0.5
    print(f"lead over {name:9} {100 * lead.mean():5.1f} points", end=", ")
    print(f"noise {100 * noise:.1f}")

# %% [markdown]
# Place alone beats every plain reader, the trained one, too. Regions are compact,
# and that is most of the score. Smoothing brings compactness to all three; then
# the trained net is far above its controls, yet only level with *place*.

# %% [markdown]
# > **Tutor's note.** When a task can be solved without looking, add the player who
# > does not look. On the course's collages, four tiles that meet in the middle,
# > *place* tells better than the trained net which patches share a tile
# > ([card](../data/weights/dinolite_tiny.md)).

# %% [markdown]
# ## How are the official numbers made?
#
# | | token | norm | chosen |
# |---|---|---|---|
# | k-NN | CLS | unit length | k of 10, 20, 100, 200; $T = 0.07$ |
# | linear | CLS and mean patch | none | learning rate, of 13 |
# | logistic | CLS | none | penalty, held out |
# | segmentation | patches | batch norm | fixed recipe |
#
# All after the final norm, the net frozen, in eval mode. k and the learning rate
# are the best on the validation set, which is also the one reported: our gain
# from above, but with ImageNet's 50,000 pictures it is small.

# %% [markdown]
# > **The paper, in our words** (DINO App. F.1): freeze the net, store the features
# > of the training pictures, let the k nearest vote with $e^{\cos / 0.07}$; $k =
# > 20$ works best in most runs.
#
# DINOv3 has no section on k-NN, only a column in its Table 1 and a remark in
# Sec. 3.2; the protocol is DINO's. Its linear probes are in Sec. 6.2.1 with App.
# D.7 (classes) and Sec. 6.1.2 with App. D.1 (patches).
#
# ## Against someone else
#
# scikit-learn has all of these.

# %%
x, q = readers["trained"]
judge = neighbors.KNeighborsClassifier(
    10,
    metric="cosine",
    algorithm="brute",
    weights=lambda far: (torch.from_numpy(1 - far) / 0.07).exp().numpy(),
).fit(x.numpy(), train_y.numpy())
theirs = torch.from_numpy(judge.predict_proba(q[:100].numpy())).float()
ours = knn.knn_classify(x, train_y, q[:100], [10])[10]
torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
# Its loss is a sum over pictures, ours a mean.
judge = linear_model.Ridge(alpha=len(z) * 1.0).fit(z.numpy(), Y.numpy())
theirs = torch.from_numpy(judge.coef_).T.float()
torch.testing.assert_close(theirs, fitted.weight, atol=1e-4, rtol=0)
a, b = exam_masks.flatten(), drawn["trained"].flatten()
score = metrics.jaccard_score(a, b, average="macro", labels=range(C))
matrix = segmentation.confusion_matrix(b, a, C)
assert abs(score - segmentation.miou(matrix)) < 1e-6
off = score - segmentation.miou(matrix)
print(f"mIoU {100 * score:.1f} %, difference {abs(off):.3f}")

# %% [markdown]
# ## Common mistakes
#
# **Searching the bank for its own pictures.** Each finds itself. A perfect score,
# until `skip_first_nn`:

# %%
x = readers["untrained"][0]
for skip in [False, True]:
    share = knn.knn_accuracy(x, train_y, x, train_y, [1], skip_first_nn=skip)
    print(f"skip_first_nn={skip!s:5} {100 * share[1]:.0f} %")

# %% [markdown]
# **Taking all tokens for patches.** CLS and registers stand before them, and the
# grid does not come out:

# %% tags=["raises-exception"]
with torch.no_grad():
    pixels = features.preprocess(exam.images[:1], **HOW)
    out = nets["trained"](pixels, is_training=True)
print("patches", list(out["x_norm_patchtokens"].shape))
print("tokens ", list(out["x_prenorm"].shape))
out["x_prenorm"].mT.reshape(1, 64, 12, 12)

# %% [markdown]
# **The wrong pixels.** A net that `load` gave brings its own mean and deviation.
# Here are ImageNet's instead; this net was trained with others. Nothing raises:

# %%
net = nets["trained"]
imagenet = {"mean": features.IMAGENET_MEAN, "std": features.IMAGENET_STD}
wrong = features.extract_features(net, test[:200], **imagenet)
x, q = readers["trained"]
cosine = F.cosine_similarity(wrong.cls, q[:200])
print(f"cosine with the right ones: {cosine.mean():.2f} on average,", end=" ")
print(f"{cosine.min():.2f} at least")

# %% [markdown]
# ## Exercises
#
# Replace `raise NotImplementedError(...)` by your answer. Solutions are in
# `lessons/solutions/18.py`.
#
# **18.1** (difficulty 1, 3 minutes) `n` training and `m` test pictures, CLS of
# width `D`, `C` classes, `k` neighbours. Return four shapes, as a tuple of
# tuples: the similarities, the places of the neighbours, the shares of the vote,
# and the weight of a linear probe on CLS and mean patch joined.
#
# <details><summary>Hint 1</summary>One row per test picture.</details>
# <details><summary>Hint 2</summary>The probe maps features to classes: `x @
# weight`.</details>


# %%
def shapes(n, m, D, C, k):
    raise NotImplementedError("exercise 18.1")


check("18.1", shapes)

# %% [markdown]
# **18.2** (difficulty 2, 5 minutes) The vote of one picture: from the cosines of
# its neighbours, [k], their labels, [k], the number of classes and the
# temperature, return each class's share, [C].
#
# <details><summary>Hint 1</summary>Softmax over neighbours first.</details>
# <details><summary>Hint 2</summary>Then add weights of equal labels; one-hot
# vectors do that in one product.</details>


# %%
def vote(cosines, labels, n_classes, temperature):
    raise NotImplementedError("exercise 18.2")


check("18.2", vote)

# %% [markdown]
# **18.3** (difficulty 2, 7 minutes) mIoU as a number, from two maps of classes
# [H, W], the truth and what was named. A class that neither occurs nor is named
# does not count.
#
# <details><summary>Hint 1</summary>A loop over classes, with `&` and
# `|`.</details>
# <details><summary>Hint 2</summary>`.item()` makes a number of a
# tensor.</details>


# %%
def mean_iou(truth, named, n_classes):
    raise NotImplementedError("exercise 18.3")


check("18.3", mean_iou)

# %% [markdown]
# **18.4** (difficulty 3, 8 minutes) A leak detector. Windows of one photograph as
# rows (left, top, side): `a` [n, 3], `b` [m, 3]. Return a bool tensor [n, m]: do
# they share a pixel? A window with left 10 and side 5 has the columns 10 to 14.
#
# <details><summary>Hint 1</summary>First along one axis: when do two stretches
# overlap?</details>
# <details><summary>Hint 2</summary>Each begins before the other ends.</details>
# <details><summary>Hint 3</summary>`a[:, None]` and `b[None]` compare all
# pairs.</details>


# %%
def overlaps(a, b):
    raise NotImplementedError("exercise 18.4")


check("18.4", overlaps)

# %% [markdown]
# **18.5** (difficulty 4, 10 minutes) Change the design: points that k-NN reads and
# a line does not. Return `x` [40, 2], floats, and `y` [40], 20 zeros and 20 ones,
# so that each point's nearest other one (by cosine!) is of its class, while a
# linear probe, fitted to these 40 points, names fewer than 70 % of them. Explain
# to yourself what the probe sees.
#
# <details><summary>Hint 1</summary>By cosine only directions count.</details>
# <details><summary>Hint 2</summary>A class may live in two places.</details>
# <details><summary>Hint 3</summary>How many places does a compass name?</details>


# %%
def tricky():
    raise NotImplementedError("exercise 18.5")


check("18.5", tricky)

# %%
print(progress("18"))

# %% [markdown]
# ## Recap
#
# - Pieces of one photograph on both sides of a split are a leak.
# - k-NN: unit length, cosine, k nearest, softmax over 0.07. A linear probe: one
#   matrix, in closed form or by SGD. mIoU: both over either.
# - CLS for pictures, CLS and mean patch for a linear probe, patches for places;
#   k fixed before the test.
# - Linear wins where the answer is quiet, k-NN where no line parts what lies
#   together.
# - Beside every number: chance, raw pixels, the untrained net, and who does not
#   look. On torn mosaics place alone beat all plain features; on whole photographs
#   the trained groups follow what one sees.
#
# Numbers say how much was learned; lesson 19 looks at what it is.

# %% [markdown]
# ## Sources
#
# - DINO, [arXiv 2104.14294](https://arxiv.org/abs/2104.14294): App. F.1, k-NN, and
#   F.2, linear: the protocol that DINOv3's code still follows.
# - DINOv3, [arXiv 2508.10104](https://arxiv.org/abs/2508.10104): Sec. 6.1.2 with
#   App. D.1, dense probes; Sec. 6.2.1 with App. D.7, classification; Sec. 6.2.2,
#   retrieval.
# - Official code: `dinov3/eval/knn.py`, `linear.py`, `log_regression.py` and
#   `segmentation/`; here `dinolite/eval/`.
