"""Scripts of the paper's public code give its numbers, here by plain hooks and autograd."""

import random

import numpy as np
import pytest
import torch

from neurgrad import demo
from neurgrad.compat import (
    INTERMIDIATE_SIZE,
    MODEL_LAYERS,
    NeurGrad,
    get_model_type,
    initialize_model_and_tokenizer,
)

PROMPTS = ["The capital of Albania is", "In fact, the capital of France is"]
LABELS = [["Tirana", "Paris", "Rome"], ["Paris", "Tirana", "Rome"]]
MASKED = ["[MASK] is the capital of France.", "[MASK] is the capital of Albania."]
BUDGET = 1e-5  # float32 sums in another order; probabilities and scores are below 1


@pytest.fixture(scope="module", params=["llama3", "bert"])
def case(request):
    masked = request.param == "bert"
    model, tokenizer = demo.load_model("masked" if masked else "causal")
    return NeurGrad(model, tokenizer, request.param), MASKED if masked else PROMPTS


class Plain:
    """One forward with a graph, hooks on every layer's neurons, one backward a label."""

    def __init__(self, case, prompt):
        self.model, self.tokenizer = case.model, case.tokenizer
        self.masked = case.model_type == "bert"
        self.ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
        mask = self.tokenizer.mask_token_id
        self.at = self.ids[0].tolist().index(mask) if self.masked else self.ids.shape[1] - 1

    def modules(self):
        if self.masked:
            return [layer.intermediate for layer in self.model.bert.encoder.layer]
        return [layer.mlp.up_proj for layer in self.model.model.layers]

    def label(self, word):
        (token,) = self.tokenizer.encode(word, add_special_tokens=False)
        return token

    def scores(self, words):
        """Probs [V]; gradients [K, L, N]; activations [L, N]."""
        seen, handles = [], []
        for module in self.modules():
            handles.append(module.register_forward_hook(lambda m, a, out: seen.append(out)))
        probs = torch.softmax(self.model(input_ids=self.ids).logits[0, self.at], -1)
        for handle in handles:
            handle.remove()
        grads = [
            torch.stack(
                [
                    g[0, self.at]
                    for g in torch.autograd.grad(probs[self.label(w)], seen, retain_graph=True)
                ]
            )
            for w in words
        ]
        acts = torch.stack([x[0, self.at] for x in seen])
        return probs.detach(), torch.stack(grads), acts.detach()

    def shifted(self, neurons, size):
        """Probs [V] with ``size(activation, neuron)`` added to each neuron."""

        def hook(layer):
            def change(module, args, out):
                out = out.clone()
                for own, index in neurons:
                    if own == layer:
                        out[0, self.at, index] += size(out[0, self.at, index], (own, index))
                return out

            return change

        handles = [m.register_forward_hook(hook(i)) for i, m in enumerate(self.modules())]
        with torch.no_grad():
            probs = torch.softmax(self.model(input_ids=self.ids).logits[0, self.at], -1)
        for handle in handles:
            handle.remove()
        return probs


def close(found, right, budget=BUDGET):
    assert found.dtype == torch.float32
    assert found.shape == right.shape
    torch.testing.assert_close(found, right.float(), atol=budget, rtol=1e-4)


def neurgrad(grads, acts, threshold=0):
    return grads * ((acts > threshold).int() * 2 - 1)


def test_one_prompt(case):
    ngrad, prompts = case
    probs, grads, acts = Plain(ngrad, prompts[0]).scores(LABELS[0][:1])
    token = ngrad.encode_token(LABELS[0][0])
    prob, scores, found = ngrad.get_neg_per_prompt(prompts[0], LABELS[0][0])
    close(prob, probs[token][None])
    close(scores, neurgrad(grads, acts))
    close(found, acts[:, None], 1e-4)
    close(ngrad.get_neg_per_prompt(prompts[0], LABELS[0][0], gc=True)[1], grads)
    close(ngrad.get_scores(prompts[0], LABELS[0][0], attribution_method="cgrad"), grads)
    found = ngrad.get_scores(
        prompts[0], LABELS[0][0], attribution_method="gradient", act_threshold=0.1
    )
    close(found, neurgrad(grads, acts, 0.1))
    assert not torch.equal(found, ngrad.get_scores(prompts[0], LABELS[0][0], 10, 20, "gradient"))


def test_a_batch_has_each_prompts_own_gradients(case):
    ngrad, prompts = case
    labels = [own[0] for own in LABELS]
    with pytest.warns(UserWarning, match="each prompt's own"):
        probs, scores, acts = ngrad.get_negs_in_batch(prompts, labels)
    with pytest.warns(UserWarning, match="each prompt's own"):
        cg = ngrad.get_negs_in_batch(prompts, labels, return_cg=True)[1]
    for p, prompt in enumerate(prompts):
        right, grads, own = Plain(ngrad, prompt).scores(labels[p : p + 1])
        close(probs[p], right)
        close(scores[p], neurgrad(grads, own)[0])
        close(cg[p], grads[0])
        close(acts[p], own, 1e-4)


def test_several_labels(case):
    ngrad, prompts = case
    probs, scores, acts = ngrad.get_negs_multilabels(prompts, LABELS)
    for p, prompt in enumerate(prompts):
        right, grads, own = Plain(ngrad, prompt).scores(LABELS[p])
        close(probs[p], right)
        close(scores[p], neurgrad(grads, own))
        close(acts[p], own, 1e-4)


def test_integrated_gradients_warn_and_follow_the_helper(case):
    ngrad, prompts = case
    with pytest.warns(UserWarning, match="does not have"):
        found = ngrad.get_scores(prompts[0], LABELS[0][0], steps=3)
    plain = Plain(ngrad, prompts[0])
    token, (_, _, acts) = plain.label(LABELS[0][0]), plain.scores(LABELS[0][:1])
    for layer, module in enumerate(plain.modules()):
        total = torch.zeros_like(acts[layer])
        for row in ngrad.scaled_input(acts[layer][None], steps=3):
            leaf = row.clone().requires_grad_()

            def put(m, args, out, leaf=leaf):
                out = out.clone()
                out[0, plain.at] = leaf
                return out

            handle = module.register_forward_hook(put)
            logits = plain.model(input_ids=plain.ids).logits[0, plain.at]
            handle.remove()
            total += torch.autograd.grad(torch.softmax(logits, -1)[token], leaf)[0]
        close(found[0, layer], acts[layer] / 3 * total)


def test_the_notebooks_sweep(case):
    """Sampled neurons, each enhanced and suppressed by its polarity, one volume after the other."""
    ngrad, prompts = case
    prompt, label = prompts[0], LABELS[0][0]
    plain, token = Plain(ngrad, prompt), ngrad.encode_token(label)[0]
    _, scores, _ = ngrad.get_negs_in_batch([prompt], [label], act_threshold=0, return_cg=False)
    values, neurons = ngrad.get_sampled_neurons(scores, num_neurons=3)
    rows, columns = torch.where(scores[0].abs() > 0)
    random.seed(42)
    pairs = random.sample(list(zip(rows.tolist(), columns.tolist(), strict=True)), k=3)
    assert neurons[0].tolist() == [list(pair) for pair in pairs]
    before = plain.shifted([], None)
    for value, neuron in zip(values[0].tolist(), neurons[0].tolist(), strict=True):
        lists = ([tuple(neuron)], []) if value > 0 else ([], [tuple(neuron)])
        for volume in (0.5, 2.0):
            how = {"change_ratio": None, "change_volume": volume}
            for ask, way in ((ngrad.enhance_knowledge, 1.0), (ngrad.suppress_knowledge, -1.0)):
                found, undo = ask([prompt], [label], *lists, **how)
                step = way * volume * (1.0 if value > 0 else -1.0)
                right = plain.shifted([neuron], lambda a, _, by=step: by * torch.sign(a))
                before_, after = found[0]["before"], found[0]["after"]
                assert before_["gt_prob"] == pytest.approx(before[token].item(), abs=BUDGET)
                assert after["gt_prob"] == pytest.approx(right[token].item(), abs=BUDGET)
                assert after["argmax_completion"] == ngrad.tokenizer.decode([int(right.argmax())])
                assert after["argmax_prob"] == pytest.approx(right.max().item(), abs=BUDGET)
                assert (before_["prompt"], before_["gt"], after["probs"]) == (prompt, label, None)
                undo()


def test_prompts_and_labels_as_tensors(case):
    ngrad, prompts = case
    given, positions = ngrad.tokenize_prompts(prompts)
    assert given["input_ids"].shape == given["attention_mask"].shape
    for p, prompt in enumerate(prompts):
        plain = Plain(ngrad, prompt)
        at = int(positions[p]) % given["input_ids"].shape[1]
        assert given["input_ids"][p, at] == plain.ids[0, plain.at]
    assert (
        ngrad.encode_prompt(prompts[0])["input_ids"].tolist()
        == Plain(ngrad, prompts[0]).ids.tolist()
    )
    assert ngrad.tokenize_labels(["Paris", "Rome"]).shape == (2, 1)
    assert (ngrad.n_layers(), ngrad.intermediate_size()) == ngrad.engine.gradients(
        prompts[:1], [ngrad.encode_token("Paris")[0]], **ngrad._where
    ).activation.shape[1:]


def test_what_fails_in_the_public_code_works(case):
    ngrad, prompts = case
    labels, neurons = [own[0] for own in LABELS], [(0, 1), (2, 5), (1, 7)]
    found, _ = ngrad.suppress_knowledge(prompts, labels, neurons, return_prob=True)
    changed, _ = ngrad.modify_activations(
        prompts,
        labels,
        neurons[:1],
        neurons[1:],
        pos_changes=[0.5],
        neg_changes=torch.tensor([1, 2]),
    )
    amounts = dict(zip(neurons, (0.5, -1.0, -2.0), strict=True))
    for p, prompt in enumerate(prompts):
        plain = Plain(ngrad, prompt)
        close(found[p]["after"]["probs"], plain.shifted(neurons, lambda a, _: -a))
        probs = plain.shifted(neurons, lambda a, one: amounts[one] * torch.sign(a))
        token = ngrad.encode_token(labels[p])[0]
        assert changed[p]["after"]["gt_prob"] == pytest.approx(probs[token].item(), abs=BUDGET)
        assert changed[p]["after"]["argmax_prob"] == pytest.approx(probs.max().item(), abs=BUDGET)


def test_selections():
    scores = torch.tensor([[[0.1, -0.5, 0.2], [0.4, 0.0, -0.3]]])
    values, neurons = NeurGrad.get_topk_neurons(scores, topk=2)
    assert neurons.tolist() == [[[1, 0], [0, 2]]]
    torch.testing.assert_close(values, torch.tensor([[0.4, 0.2]]))
    assert NeurGrad.get_topk_neurons(scores, 2, abs_val=True)[1].tolist() == [[[0, 1], [1, 0]]]
    assert NeurGrad.get_topk_neurons(scores, 1, reverse=True)[1].tolist() == [[[0, 1]]]
    top, pairs = NeurGrad.get_cumlative_neurons(scores[0], 0.65, return_value_indices=True)
    assert pairs == [(0, 1), (1, 0)]
    torch.testing.assert_close(top, torch.tensor([-0.5, 0.4]))
    assert NeurGrad.get_cumlative_neurons(scores[0], 0.65) == ([[1, 0]], [[0, 1]])
    positive, negative = NeurGrad.get_pos_neg_neurons(values[0] - 0.2, neurons[0])
    assert (positive, negative) == ([[1, 0]], [[0, 2]])


def test_models_by_name(monkeypatch):
    assert (MODEL_LAYERS["llama3.2-3b-it"], INTERMIDIATE_SIZE["llama3.2-3b-it"]) == (28, 8192)
    assert [get_model_type(n) for n in ("bert-base-uncased", "llama3.2-3b-it", "qwen2.5-7b")] == [
        "bert",
        "llama3",
        "qwen",
    ]
    model, tokenizer = initialize_model_and_tokenizer(str(demo.folder("causal")))
    assert model.dtype == torch.float32
    assert not model.training
    assert tokenizer.pad_token == tokenizer.eos_token
    assert (
        initialize_model_and_tokenizer(str(demo.folder("causal")), only_tokenizer=True)[0] is None
    )
    asked = []
    monkeypatch.setattr(
        "neurgrad.compat.loading.load",
        lambda place, **how: asked.append(place) or (model, tokenizer),
    )
    for name in ("llama2-7b-it", "llama3-8b", "llama3.2-3b-it", "qwen2.5-7b-it"):
        initialize_model_and_tokenizer(name)
    assert asked == [
        "meta-llama/Llama-2-7b-chat-hf",
        "meta-llama/Meta-Llama-3-8B",
        "meta-llama/Llama-3.2-3B-Instruct",
        "Qwen/Qwen2.5-7B-Instruct",
    ]


def ask(case, name, *arguments, **options):
    ngrad, prompts = case
    return getattr(ngrad, name)(*[prompts if a == "prompts" else a for a in arguments], **options)


@pytest.mark.parametrize(
    ("name", "arguments", "options", "message"),
    [
        ("get_scores", ("x", "Paris"), {"attribution_method": "lpi"}, "attribution_method 'lpi'"),
        ("encode_token", ("Paris Rome",), {}, "expected one token"),
        ("modify_activations", ("prompts", ["Paris"] * 2, [(0, 1)]), {"mode": "on"}, "mode 'on'"),
        (
            "enhance_knowledge",
            ("prompts", ["Paris"] * 2, [(0, 1)]),
            {"change_volume": -1.0},
            "change_volume is -1.0",
        ),
        (
            "modify_activations",
            ("prompts", ["Paris"] * 2, [(0, 1)]),
            {"pos_changes": [1.0, 2.0]},
            "as many sizes",
        ),
        ("modify_activations", ("prompts", ["Paris"] * 2, [(0, 1)]), {}, "change_ratio is None"),
        ("enhance_knowledge", ("prompts", ["Paris"] * 2, [(0, 1), (2,)]), {}, "pos_neurons is"),
        ("get_sampled_neurons", (torch.zeros(1, 2, 3), 4), {}, "prompt 0 has 0 neurons"),
        ("get_topk_neurons", (torch.zeros(2, 3),), {}, r"shape \[2, 3\]"),
    ],
)
def test_bad_calls_in_a_line(case, name, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ask(case, name, *arguments, **options)


def test_unknown_names_and_types(case):
    ngrad, _ = case
    with pytest.raises(AttributeError, match=r"has no 'get_lpi'; it has .*get_scores"):
        _ = ngrad.get_lpi
    with pytest.raises(NotImplementedError, match="model_type 'gpt' is unknown"):
        NeurGrad(ngrad.model, ngrad.tokenizer, "gpt")
    other = "llama2" if ngrad.model_type == "bert" else "bert"
    with pytest.raises(ValueError, match="does not describe"):
        NeurGrad(ngrad.model, ngrad.tokenizer, other)
    with pytest.raises(ValueError, match="tells no type"):
        get_model_type("phi")


def test_nothing_is_left_on_the_model(case):
    ngrad, prompts = case
    hooks = [len(module._forward_hooks) for module in ngrad.model.modules()]
    with pytest.raises(IndexError):
        ngrad.enhance_knowledge(prompts, ["Paris"] * 2, [(99, 0)], change_volume=1.0)
    ngrad.enhance_knowledge(prompts, ["Paris"] * 2, [(0, 0)], change_volume=1.0)
    assert [len(module._forward_hooks) for module in ngrad.model.modules()] == hooks
    assert np.all(np.isfinite(ngrad.get_negs_multilabels(prompts, LABELS)[1].numpy()))
