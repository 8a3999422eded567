"""Every exercise answered a second time, without its solution: by the package, by PyTorch, einops
or scikit-learn, by counting one by one, or by hand. A wrong solution fails here.
"""

import math
from bisect import bisect
from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dinolite.config import CropsConfig, GramConfig, IbotConfig
from dinolite.data.augmentations import normalize
from dinolite.data.batched_augmentations import BatchedAugmentation, adjust_contrast
from dinolite.data.masking import MaskingGenerator, draw_masks, mask_positions
from dinolite.eval.knn import knn_classify
from dinolite.eval.segmentation import confusion_matrix, miou
from dinolite.layers.attention import SelfAttention
from dinolite.layers.block import SelfAttentionBlock, drop_samples
from dinolite.layers.dino_head import DINOHead
from dinolite.layers.ffn_layers import SwiGLUFFN
from dinolite.layers.rope_position_encoding import RopePositionEmbedding
from dinolite.loss.dino_clstoken_loss import SoftmaxCenter
from dinolite.loss.gram_loss import GramLoss
from dinolite.loss.ibot_patch_loss import iBOTPatchLoss
from dinolite.loss.koleo_loss import KoLeoLoss
from dinolite.loss.sinkhorn_knopp import sinkhorn_knopp
from dinolite.models.keymaps import TIMM, ZEROS, fill, huggingface_names
from dinolite.models.vision_transformer import DinoVisionTransformer
from dinolite.train.ema import update_ema
from dinolite.train.gram import resize_patches
from dinolite.train.monitors import entropy, entropy_floor
from dinolite.train.param_groups import multipliers
from dinolite.train.schedules import linear_warmup_cosine_decay
from dinolite.viz.attention import attention_grid
from dinolite.viz.similarity import similarity_map
from dinolite_course import check
from dinolite_course.exercises import exercises_of, find, lesson_numbers
from dinolite_course.figures.attention import attention_rollout
from tests.course import test_exercises

Answer = Callable[..., Any]


# --- sequences and positions ---


def vit(patch: int, D: int, registers: int, **settings: Any) -> DinoVisionTransformer:
    return DinoVisionTransformer(
        patch_size=patch,
        embed_dim=D,
        depth=1,
        num_heads=2,
        n_storage_tokens=registers,
        **settings,
    )


def sequence(B: int, H: int, W: int, p: int, R: int, D: int) -> tuple[int, ...]:
    return tuple(vit(p, D, R).prepare_tokens_with_masks(torch.zeros(B, 3, H, W))[0].shape)


def tokens(height: int, width: int, patch: int, registers: int) -> int:
    return sequence(1, height, width, patch, registers, 8)[1]


def patches_and_pairs(H: int, W: int, p: int) -> tuple[int, int]:
    N = F.unfold(torch.zeros(1, 1, H, W), p, stride=p).shape[2]
    return N, torch.empty(N, N).numel()


def unfolded(x: Tensor, p: int) -> Tensor:
    columns = F.unfold(x, p, stride=p).unflatten(1, (-1, p * p))
    return columns.permute(0, 3, 2, 1).flatten(2)


def folded(patches: Tensor, h: int, w: int, p: int) -> Tensor:
    columns = patches.unflatten(2, (p * p, -1)).permute(0, 3, 2, 1).flatten(1, 2)
    return F.fold(columns, (h * p, w * p), p, stride=p)


def place_in_sequence(row: int, column: int, grid: tuple[int, int], R: int) -> int:
    patches = [(r, c) for r in range(grid[0]) for c in range(grid[1])]
    return [None, *[None] * R, *patches].index((row, column))


def step(side: int) -> float:
    """Between two rows of positions."""
    rows = RopePositionEmbedding(8, num_heads=2).coordinates(side, side).view(side, side, 2)
    return float(rows[1, 0, 0] - rows[0, 0, 0])


def table_shape(height: int, width: int, patch: int, D: int, heads: int) -> tuple[int, ...]:
    rope = RopePositionEmbedding(D, num_heads=heads)
    return tuple(rope(H=height // patch, W=width // patch)[0].shape)


def turns(i: int, base: float, head_dim: int) -> float:
    """The box is 2 long."""
    return 2 / float(RopePositionEmbedding(head_dim, num_heads=1, base=base).periods[i])


def turned_as_complex(x: Tensor, angle: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.unflatten(1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(1)


def video_angles(frames: int, rows: int, columns: int, periods: Tensor) -> Tensor:
    sizes = frames, rows, columns
    places = [(t, r, c) for t in range(frames) for r in range(rows) for c in range(columns)]
    return torch.tensor(
        [
            [
                2 * math.pi * (2 * i + 1 - n) / n / period
                for i, n in zip(place, sizes, strict=True)
                for period in periods.tolist()
            ]
            for place in places
        ]
    )


# --- attention, the block, the ViT ---


def shape_of_q(B: int, T: int, D: int, h: int) -> tuple[int, ...]:
    q, _, _ = SelfAttention(D, h).queries_keys_values(torch.zeros(B, T, D), None)
    return tuple(q.shape)


def cost(T: int, D: int, h: int) -> tuple[int, int, int]:
    attention = SelfAttention(D, h)
    q, k, _ = attention.queries_keys_values(torch.zeros(1, T, D), None)
    with FlopCounterMode(display=False) as counter:
        scores = q @ k.mT
    return attention.qkv.weight.numel(), counter.get_total_flops() // 2, scores.numel()


def swiglu_size(D: int, ratio: int, align: int) -> tuple[int, int]:
    with torch.device("meta"):
        net = SwiGLUFFN(D, D * ratio, bias=False, align_to=align)
    return net.w1.out_features, n_parameters(net)


def n_parameters(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def parallel_block(
    x: Tensor, norm1: Answer, attn: Answer, ls1: Answer, norm2: Answer, mlp: Answer, ls2: Answer
) -> Tensor:
    """Either branch alone, as the package adds it; x is in both."""
    first = drop_samples(x, lambda y: ls1(attn(norm1(y))), 0.0)
    return first + drop_samples(x, lambda y: ls2(mlp(norm2(y))), 0.0) - x


def gamma_for(depth: int, growth: float) -> float:
    """By search, in steps of a millionth: after n branches the variance is 1 + n gamma^2."""

    def grown(millionths: int) -> float:
        return math.sqrt(1 + 2 * depth * (millionths / 1e6) ** 2)

    return bisect(range(10**7), growth, key=grown) / 1e6


def patch_map(height: int, width: int, patch: int, D: int) -> tuple[int, ...]:
    images = torch.zeros(1, 3, height, width)
    (features,) = vit(patch, D, 0).get_intermediate_layers(images, n=1, reshape=True)
    return tuple(features[0].shape)


def parts(tokens: Tensor, R: int) -> tuple[Tensor, ...]:
    cls, registers, patches = tokens.split([1, R, tokens.shape[1] - 1 - R], dim=1)
    return cls.squeeze(1), registers, patches


def forward(net: DinoVisionTransformer, images: Tensor) -> Tensor:
    out: Any = net.forward_features(images)
    cls = out["x_norm_clstoken"][:, None]
    return torch.cat([cls, out["x_storage_tokens"], out["x_norm_patchtokens"]], dim=1)


def untied(tokens: Tensor, R: int, cls_norm: nn.Module, norm: nn.Module) -> Tensor:
    net = vit(4, 8, R, untie_cls_and_patch_norms=True)
    net.cls_norm, net.norm = cls_norm, norm
    return net.eval().normed(tokens)


# --- crops and masks ---


def crop_shapes(B: int, L: int, g: int, s: int) -> tuple[tuple[int, ...], ...]:
    settings = CropsConfig(global_crops_size=g, local_crops_size=s, local_crops_number=L)
    pictures, sizes = torch.zeros(B, 3, g, g, dtype=torch.uint8), torch.full((B, 2), g)
    crops = BatchedAugmentation(settings)(pictures, sizes)
    return tuple(crops["global_crops"].shape), tuple(crops["local_crops"].shape)


def box_size(height: int, width: int, share: float, aspect: float) -> tuple[int, int]:
    """Logarithms of the edges: their sum is that of the area, their difference of the aspect."""
    both, apart = math.log(height * width * share), math.log(aspect)
    return round(math.exp((both - apart) / 2)), round(math.exp((both + apart) / 2))


def other_views(G: int, L: int) -> list[list[bool]]:
    """A row for each view of the teacher: is that of the student another one?"""
    return [[s != t for s in range(G + L)] for t in range(G)]


def n_pairs(G: int, L: int) -> int:
    return sum(map(sum, other_views(G, L)))


def filled(boxes: Tensor) -> Tensor:
    """Boxes (top, left, height, width) or (top, left, side) as pixels [n, 100, 100]."""
    pixels = torch.zeros(len(boxes), 100, 100)
    for picture, (top, left, height, *rest) in zip(pixels, boxes.int().tolist(), strict=True):
        picture[top : top + height, left : left + (rest or [height])[0]] = 1
    return pixels


def share_of_pixels(a: Tensor, b: Tensor) -> Tensor:
    return (filled(a) * filled(b)).sum(dim=(1, 2)) / filled(a).sum(dim=(1, 2))


def mask_shapes(B: int, N: int, counts: list[int]) -> tuple[tuple[int, ...], ...]:
    masks = MaskingGenerator((math.isqrt(N), math.isqrt(N)))(torch.tensor(counts)).flatten(1)
    return tuple(tuple(x.shape) for x in (masks, *mask_positions(masks)))


def ladder(n_crops: int, N: int, share: float, low: float, high: float) -> list[int]:
    settings = IbotConfig(mask_sample_probability=share, mask_ratio_min_max=(low, high))
    masks = draw_masks(n_crops, (math.isqrt(N), math.isqrt(N)), settings)
    return [n for n in sorted(masks.sum(dim=1).tolist()) if n]


def exposed(mask: Tensor) -> float:
    cross = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])[None, None]
    visible = F.conv2d((~mask).float()[None, None], cross, padding=1)[0, 0]
    return (visible[mask] > 0).float().mean().item()


# --- heads and losses ---


def score_shapes(B: int, L: int, M: int, K: int, K2: int) -> tuple[tuple[int, ...], ...]:
    with torch.device("meta"):
        crops = [torch.zeros(B, 8) for _ in ["G1", "G2", *range(L)]]
        cls, patches = torch.cat(crops), torch.zeros(M, 8)
        return tuple(DINOHead(8, K)(cls).shape), tuple(DINOHead(8, K2)(patches).shape)


def answer_of_head(x: Tensor, W: Tensor, temp: float) -> Tensor:
    head = DINOHead(x.shape[1], len(W), bottleneck_dim=x.shape[1])
    head.mlp, head.last_layer.weight = nn.Sequential(), nn.Parameter(W.clone())
    return SoftmaxCenter(len(W))(head(x), temp)


def head_parameters(D: int, hidden: int, narrow: int, K: int) -> int:
    with torch.device("meta"):
        return n_parameters(DINOHead(D, K, hidden_dim=hidden, bottleneck_dim=narrow))


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """By autograd."""
    at = at.clone().requires_grad_()
    return torch.autograd.grad(loss(at), at)[0]


def unit_design(W: Tensor, temp: float) -> tuple[Tensor, float]:
    """z W^T / temp stays: both are divided by the root mean square of the lengths."""
    lengths = W.square().sum(dim=1, keepdim=True).sqrt()
    return W / lengths, temp / lengths.square().mean().sqrt().item()


def balanced(n: int, K: int) -> tuple[int, int, int, float]:
    targets = sinkhorn_knopp(torch.randn(n, K), 1.0)
    return *targets.shape, round(targets.sum(dim=1).mean().item()), (targets.sum() / K).item()


def centred(logits: Tensor, center: Tensor, temp: float) -> Tensor:
    softmax = SoftmaxCenter(logits.shape[1])
    softmax.center = center
    return softmax(logits, temp)


def exp_sinkhorn_with_queue(logits: Tensor, queue: Tensor, temp: float) -> Tensor:
    q = (torch.cat([logits, queue]).double() / temp).exp()
    for _ in range(3):
        q = q / q.sum(dim=0)
        q = q / q.sum(dim=1, keepdim=True)
    return q[: len(logits)].float()


def loss_of_zeros(counts: list[int], K: int) -> float:
    masks = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    even = torch.full((*masks.shape, K), 1 / K)
    return iBOTPatchLoss()(torch.zeros_like(even), even, masks).item()


def ibot_slope(
    scores: Tensor, targets: Tensor, weight: Tensor, n_images: int, temp: float
) -> Tensor:
    loss = iBOTPatchLoss(temp)
    return gradient(lambda s: loss.forward_masked(s, targets, weight, n_images), scores)


def koleo_shapes(B: int, D: int, k: int) -> tuple[tuple[int, ...], ...]:
    x = F.normalize(torch.randn(B, D), dim=1)
    near = x[(x @ x.T).topk(k, dim=1).indices]
    distances = F.pairwise_distance(x[:, None], near)
    return (len(x), len(x)), tuple(near.shape), tuple(distances.shape)


def k_nearest(x: Tensor, k: int) -> Tensor:
    search = NearestNeighbors(n_neighbors=k).fit(F.normalize(x, dim=1).numpy())
    return torch.from_numpy(search.kneighbors(return_distance=False))


def koleo(x: Tensor) -> Tensor:
    x = F.normalize(x, dim=1)
    return -torch.cdist(x, x).fill_diagonal_(torch.inf).amin(dim=1).log().mean()


# --- the teacher, a step, training ---


def module_of(state: dict[str, Tensor], buffers: set[str]) -> nn.Module:
    module = nn.Module()
    for name, value in state.items():
        if name in buffers:
            module.register_buffer(name, value.clone())
        else:
            module.register_parameter(name, nn.Parameter(value.clone()))
    return module


def next_teacher(
    teacher: dict[str, Tensor], student: dict[str, Tensor], momentum: float, buffers: set[str]
) -> dict[str, Tensor]:
    module = module_of(teacher, buffers)
    update_ema(module, module_of(student, buffers), momentum)
    return dict(module.state_dict())


def teacher_error(momentum: float, noise: float, drift: float) -> float:
    """From the shares of the last 5000 students."""
    shares = [(1 - momentum) * momentum**age for age in range(5000)]
    late = drift * sum(age * share for age, share in enumerate(shares))
    return noise * sum(share**2 for share in shares) + late**2


def dino_weights(L: int, ignore_diagonal: bool) -> tuple[float, float]:
    pairs = [(s, t) for t in range(2) for s in range(2 + L) if not ignore_diagonal or s != t]
    local = sum(s >= 2 for s, _ in pairs) / len(pairs)
    return local, 1 - local


def informations(K: int) -> tuple[float, ...]:
    one_for_each = torch.eye(K)
    answers = torch.full((2, K), 1 / K), one_for_each[:1].expand(3, -1), one_for_each
    return tuple(float(entropy(p.mean(dim=0, keepdim=True)) - entropy(p)) for p in answers)


# --- reading and seeing features, Gram, names, processes ---


def reading_shapes(n: int, m: int, D: int, C: int, k: int) -> tuple[tuple[int, ...], ...]:
    bank, asked = torch.randn(n, D), torch.randn(m, D)
    cosines = F.cosine_similarity(asked[:, None, :2], bank[None, :, :2], dim=2)
    votes = knn_classify(bank, torch.arange(n) % C, asked, [k])[k]
    probe = nn.Linear(2 * D, C)
    near = cosines.topk(k, dim=1).indices
    return tuple(cosines.shape), tuple(near.shape), tuple(votes.shape), tuple(probe.weight.T.shape)


def chessboard() -> tuple[Tensor, Tensor]:
    """Ten points in each quadrant; opposite quadrants are one class."""
    corner = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).repeat(10, 1)
    label = (corner.prod(dim=1) > 0).long()
    return corner * torch.linspace(0.9, 1.1, 80).view(40, 2), label


def rollout_of_cls(maps: list[Tensor]) -> Tensor:
    return attention_rollout([m[None] for m in maps])[0, 0]


def likeness(patches: Tensor, k: int) -> Tensor:
    return similarity_map(patches.T[None, :, :, None], k, 0)[0, :, 0]


def mutual(s: Tensor) -> Tensor:
    """What is the largest of its row and of its column."""
    return ((s == s.amax(dim=0)) & (s == s.amax(dim=1, keepdim=True))).nonzero()


def gram_entries(B: int, N: int, D: int) -> tuple[int, int]:
    x = torch.zeros(B, N, D)
    return GramLoss().gram(x).numel(), GramLoss(img_level=False).gram(x).numel()


def centred_gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    N = student.shape[1]
    centring = torch.eye(N) - 1 / N
    return GramLoss()(centring @ student, centring @ teacher)


def tiled_pairs(side: int, tile: int, patch: int, prefix: int) -> int:
    starts = range(0, side, tile)
    return sum(tokens(tile, tile, patch, prefix - 1) ** 2 for _ in starts for _ in starts)


def from_timm(name: str) -> str:
    for ours, theirs in TIMM.items():
        name = name.replace(theirs, ours)
    return name


def filled_qkv(
    q: Tensor, k: Tensor, v: Tensor, q_bias: Tensor, v_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """As weights under the names of transformers are read."""
    D = len(q)
    own = {"blocks.0.attn.qkv.weight": torch.randn(3 * D, D)}
    own["blocks.0.attn.qkv.bias"] = torch.randn(3 * D)
    names = [name for key in own for name in huggingface_names(key) if name != ZEROS]
    state = dict(zip(names, (q, k, v, q_bias, v_bias), strict=True))
    fill(own, state, huggingface_names, "one layer")
    weight, bias = own.values()
    return weight, bias


def ready(image: Tensor, kind: str) -> Tensor:
    """Mean and spread of photographs, and of satellite pictures, as published."""
    colours = {
        "lvd": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "sat": ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
    }
    return normalize(image[None] / 255, *colours[kind])[0]


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = {"rope_embed.periods", "teacher.periods"}
    return {
        name: w.to(torch.float32 if name in kept else torch.bfloat16) for name, w in state.items()
    }


def gap_of(x: Tensor) -> Tensor:
    """To the bfloat16 whose bits, read as an integer, are one more."""
    near = x.abs().bfloat16()
    return (near.view(torch.int16) + 1).view(torch.bfloat16).float() - near.float()


def gpus_for(floor: float, K: int, pictures: int) -> int:
    return next(n for n in count(1) if entropy_floor(K, 2 * pictures * n) <= floor)


HELD_BYTES = {
    (1_000, 800, 1): 19_200.0,  # 16,000 and 3,200
    (86_000_000, 80_000_000, 8): 212_000_000.0,  # an eighth of 1,376 and 320 millions
    (7_000, 0, 2): 56_000.0,  # half of 112,000
}
ANSWERS: dict[str, Answer] = {
    "00.1": lambda size, patch, registers: tokens(size, size, patch, registers),
    "00.2": lambda K: F.cross_entropy(torch.zeros(1, K), torch.tensor([0])).item(),
    "00.4": n_pairs,
    "01.1": patches_and_pairs,
    "01.2": lambda n, width, p: [
        (top, left) for top in range(0, (n + 1) * p, p) for left in range(0, width, p)
    ][n],
    "01.3": unfolded,
    "01.4": folded,
    "01.5": lambda weight: F.conv2d(weight, torch.ones(1, weight.shape[1], 1, 1)),
    "02.1": sequence,
    "02.2": place_in_sequence,
    "02.3": lambda x, token, masks: torch.lerp(x, token.expand_as(x), masks[..., None].float()),
    "02.4": lambda cls, registers, x: torch.stack(
        [torch.cat([cls[0], registers[0], y]) for y in x]
    ),
    "03.1": table_shape,
    "03.2": turns,
    "03.3": turned_as_complex,
    "03.5": video_angles,
    "04.1": shape_of_q,
    "04.3": lambda qkv, h: tuple(rearrange(qkv, "b t (k h d) -> k b h t d", k=3, h=h)),
    "04.4": lambda q, k, v: F.scaled_dot_product_attention(q[None], k, v)[0],
    "04.5": cost,
    "05.1": lambda B, p: int(
        drop_samples(torch.zeros(B, 1, 1), torch.ones_like, p).count_nonzero()
    ),
    "05.3": swiglu_size,
    "05.4": parallel_block,
    "05.5": gamma_for,
    "06.1": patch_map,
    "06.2": lambda D: n_parameters(SelfAttentionBlock(D, 1, init_values=1e-5)),
    "06.3": parts,
    "06.4": forward,
    "06.5": untied,
    "07.1": crop_shapes,
    "07.2": box_size,
    "07.3": lambda x, factor: adjust_contrast(x, factor.view(-1, 1, 1, 1)),
    "07.4": lambda G, L: torch.tensor(other_views(G, L)),
    "07.5": share_of_pixels,
    "08.1": mask_shapes,
    "08.2": ladder,
    "08.3": lambda indices, n, N: torch.isin(torch.arange(n * N), indices).view(n, N),
    "08.5": exposed,
    "09.1": score_shapes,
    "09.2": answer_of_head,
    "09.3": head_parameters,
    "09.4": lambda z, W, p, temp, lr: (
        W - lr * gradient(lambda w: F.cross_entropy(z @ w.T / temp, p), W)
    ),
    "09.5": unit_design,
    "10.1": n_pairs,
    "10.4": lambda scores, target, temp: gradient(
        lambda s: F.cross_entropy(s / temp, target), scores
    ),
    "11.1": balanced,
    "11.2": centred,
    "11.4": lambda K, pictures, processes: entropy_floor(K, 2 * pictures * processes),
    "11.5": exp_sinkhorn_with_queue,
    "12.1": loss_of_zeros,
    "12.2": lambda x, indices: torch.stack([[y for z in x for y in z][i] for i in indices]),
    "12.4": ibot_slope,
    "12.5": lambda masks: len(masks) * gradient(torch.mean, masks[masks].float()),
    "13.1": koleo_shapes,
    "13.2": k_nearest,
    "13.3": lambda x, size: torch.stack([KoLeoLoss()(group) for group in x.split(size)]).mean(),
    "13.4": lambda cls, weight: weight * sum(map(koleo, cls)),
    "14.1": lambda momentum: -1 / math.log2(momentum),
    "14.2": lambda m, n: torch.tensor([m**n, *((1 - m) * m**age for age in reversed(range(n)))]),
    "14.3": next_teacher,
    "14.4": teacher_error,
    "15.1": lambda B, L, K: tuple(torch.stack([torch.zeros(B, K)] * len("GG" + "L" * L)).shape),
    "15.2": dino_weights,
    "15.3": lambda x, B: torch.stack([x[picture::B].mean(dim=0) for picture in range(B)]),
    "16.1": lambda lr, batch: lr * math.sqrt(batch) / 8,
    "16.2": lambda momentum: math.prod(momentum.tolist()),
    "16.3": lambda *plan: torch.from_numpy(linear_warmup_cosine_decay(*plan)).float(),
    "16.4": lambda name, depth, decay: multipliers(name, depth, decay, 0.2)[:2],
    "16.5": lambda m, factor: {2.0: m * m, 4.0: m * m * m * m, 0.5: math.sqrt(m)}[factor],
    "17.1": informations,
    "17.2": lambda p: entropy(p.mean(dim=0, keepdim=True)).exp(),
    "18.1": reading_shapes,
    "18.2": lambda cosines, labels, C, temp: torch.bincount(
        labels, (cosines / temp).softmax(dim=0), minlength=C
    ),
    "18.3": lambda truth, named, n: miou(confusion_matrix(named, truth, n)),
    "18.4": lambda a, b: torch.einsum("nij,mij->nm", filled(a), filled(b)) > 0,
    "18.5": chessboard,
    "19.1": lambda attention, rows, columns: attention_grid(attention, (rows, columns)),
    "19.2": likeness,
    "19.3": rollout_of_cls,
    "19.4": mutual,
    "20.1": gram_entries,
    "20.2": lambda x: GramLoss().gram(x),
    "20.3": lambda student, teacher: GramLoss()(student, teacher),
    "20.4": lambda patches, side: resize_patches(patches, (side, side), GramConfig()),
    "20.5": centred_gram_loss,
    "21.1": tokens,
    "21.2": lambda n, n_train: step(n_train) / step(n),
    "21.4": tiled_pairs,
    "22.1": lambda height, width: tokens(height, width, 16, 4),
    "22.2": from_timm,
    "22.3": filled_qkv,
    "22.4": ready,
    "22.5": halved,
    "23.1": lambda *sizes: HELD_BYTES[sizes],
    "23.2": gap_of,
    "23.3": lambda gradients, counts: torch.cat(
        [g.expand(n, -1) for g, n in zip(gradients, counts, strict=True)]
    ).mean(dim=0),
    "23.5": gpus_for,
}


@pytest.mark.parametrize(("id", "way"), ANSWERS.items(), ids=ANSWERS)
def test_an_independent_answer_is_right(id: str, way: Answer) -> None:
    assert repr(check(id, way)) == f"{id}: right"


READINGS: dict[str, list[tuple[tuple[Any, ...], Any]]] = {
    # 95 and 5 percent of ln K: 6.58 and 0.347 of 1024, 2.63 and 0.139 of 16, 8.56 and 0.451 of 8192
    "10.5": [
        ((6.93, 6.92, 1024), "nothing asked"),
        ((6.8, 6.65, 1024), "nothing asked"),
        ((2.77, 2.76, 16), "nothing asked"),
        ((6.7, 6.5, 1024), "not learned yet"),
        ((9.01, 4.0, 8192), "not learned yet"),
        ((9.5, 2.0, 1024), "not learned yet"),
        ((0.01, 0.0, 1024), "collapsed"),
        ((0.33, 0.1, 1024), "collapsed"),
        ((0.42, 0.1, 8192), "collapsed"),
        ((0.36, 0.1, 1024), "look at k-NN"),
        ((0.2, 0.1, 16), "look at k-NN"),
        ((6.5, 2.0, 1024), "look at k-NN"),
    ],
    # weights of DINO, KoLeo, iBOT; then backbone, mask token, head of DINO, head of iBOT
    "15.5": [
        ((1, 0.1, 1), (True, True, True, True)),
        ((1, 0, 0), (True, True, True, False)),
        ((0, 0.1, 0), (True, True, False, False)),
        ((0, 0, 1), (True, True, False, True)),
        ((0, 0.01, 2), (True, True, False, True)),
        ((0, 0, 0), (False, False, False, False)),
    ],
}


@pytest.mark.parametrize(("id", "readings"), READINGS.items(), ids=READINGS)
def test_readings_by_hand(id: str, readings: list[tuple[tuple[Any, ...], Any]]) -> None:
    for given, wanted in readings:
        assert find(id).answer(*given) == wanted


UNGUARDED: set[str] = set()
"""Exercises whose solution nothing else confirms; each needs a reason."""


def ids_of_other_ways(tests: ModuleType) -> set[str]:
    (mark,) = tests.test_another_right_way_is_right.pytestmark
    return {id for id, _ in mark.args[1]}


def test_every_solution_is_confirmed_by_something_else() -> None:
    ids = {exercise.id for lesson in lesson_numbers() for exercise in exercises_of(lesson)}
    assert ids - set(ANSWERS) - set(READINGS) - ids_of_other_ways(test_exercises) == UNGUARDED
