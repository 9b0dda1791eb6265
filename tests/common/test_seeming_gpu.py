"""The GPU that is not there refuses what CUDA refuses, and computes what the CPU computes."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from seeming_gpu import seeming_gpu
from torch import nn

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")


@pytest.fixture(autouse=True)
def there():
    with seeming_gpu():
        yield


def numbers():
    return torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: numbers().cuda(),
        lambda: numbers().to("cuda:0", non_blocking=True),
        lambda: torch.zeros(2, 3, device="cuda") + numbers().cuda(),
        lambda: torch.zeros_like(numbers(), device="cuda"),
        lambda: numbers().cuda().new_zeros(2, 3),
        lambda: torch.tensor([[1.0]], device="cuda").expand(2, 3),
        lambda: torch.cat([numbers().cuda()[:1]] * 2),
        lambda: F.interpolate(numbers().cuda()[None, None], scale_factor=2.0)[0, 0],
        lambda: numbers().cuda().split(1)[0],
        lambda: torch.stack(list(numbers().cuda())),
        lambda: numbers().cuda() * torch.tensor(2.0),  # a number of the host may come along
        lambda: numbers().cuda()[torch.tensor([1])],  # indices too
        lambda: numbers().cuda().fill_(0),
    ],
)
def test_there(make):
    found = make()
    assert found.device == torch.device("cuda", 0)
    assert found.is_cuda
    assert not found.is_cpu


@pytest.mark.parametrize(
    "make",
    [
        lambda: numbers().cuda().cpu(),
        lambda: numbers().cuda().to("cpu"),
        lambda: numbers().cuda().to(numbers()),
        lambda: torch.zeros_like(numbers().cuda(), device="cpu"),
        lambda: torch.empty(2, 3).copy_(numbers().cuda()),
        lambda: torch.tensor(numbers().cuda().tolist()),
        lambda: torch.from_numpy(numbers().cuda().numpy(force=True)),
        lambda: numbers() + numbers().cuda().sum().item(),
    ],
)
def test_here(make):
    found = make()
    assert found.device == torch.device("cpu")
    assert found.numpy().shape == (2, 3)


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: torch.cat([here, there]),
        lambda here, there: there[there > here],
        lambda here, there: torch.where(there > 1, here, there),
        lambda here, there: there.masked_fill(here > 1, 0),
        lambda here, there: there.__setitem__(torch.tensor([0, 1]), here),
        lambda here, there: F.linear(there, here),
        lambda here, there: F.mse_loss(here, there),
        lambda here, there: nn.Linear(3, 2)(there),
        lambda here, there: here * there.sum(),  # a number of the device may not
        lambda here, there: here[there[0].long()],  # indices neither
        lambda here, there: nn.Linear(3, 2).cuda()(here),
    ],
)
def test_two_devices_are_not_mixed(mix):
    with pytest.raises(RuntimeError, match="same device"):
        mix(numbers(), numbers().cuda())


@pytest.mark.parametrize("convert", [np.asarray, lambda tensor: tensor.numpy()])
def test_no_array_of_it(convert):
    with pytest.raises(TypeError, match="numpy"):
        convert(numbers().cuda())


def test_training_is_that_of_the_cpu():
    def trained(device):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)
            )
            images = torch.rand(5, 3, 4, 4)
        model, images = copy.deepcopy(model.to(device)), images.to(device).requires_grad_()
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(3):
            loss = model(images).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        (slope,) = torch.autograd.grad(model(images).sum(), images)
        return model, loss, slope, images.grad

    model, *found = trained("cuda")
    other, *expected = trained("cpu")
    assert all(isinstance(one, nn.Parameter) and one.is_cuda for one in model.parameters())
    assert all(one.is_cuda for one in (*model.state_dict().values(), *found))
    for one, another in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), another, rtol=0, atol=0)
    for one, another in zip(model.cpu().parameters(), other.parameters(), strict=True):
        assert not one.is_cuda
        assert torch.equal(one, another)


def test_moving_a_module_keeps_its_parameters():
    model = nn.Linear(2, 2)
    before = list(model.parameters())
    moved = list(model.cuda().parameters())
    assert [id(one) for one in before] == [id(one) for one in moved]
    assert all(one.is_cuda for one in moved)


def test_a_thread_that_is_begun_there_sees_it():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.zeros(2, device="cuda")))
    thread.start()
    thread.join()
    assert found[0].is_cuda


def test_a_copy_to_the_host_arrives_once_it_is_waited_for():
    there, here = numbers().cuda(), torch.empty(2, 3, pin_memory=True)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        here.copy_(there, non_blocking=True)
        done = stream.record_event()
    there.zero_()  # what came after does not reach the copy
    assert not done.query()
    assert not torch.equal(here, numbers())
    done.synchronize()
    assert torch.equal(here, numbers())


def test_an_event_waits_for_the_copies_before_it_alone():
    here = [torch.empty(2, 3, pin_memory=True) for _ in range(2)]
    here[0].copy_(numbers().cuda(), non_blocking=True)
    first = torch.cuda.current_stream().record_event()
    here[1].copy_(numbers().cuda(), non_blocking=True)
    first.synchronize()
    assert first.query()
    assert [torch.equal(one, numbers()) for one in here] == [True, False]
    torch.cuda.synchronize()
    assert torch.equal(here[1], numbers())
