"""A real EVM (py-evm) behind a local JSON-RPC server, with contracts to read.

The server is written here, as much of https://ethereum.org/developers/docs/apis/json-rpc as is asked for;
what it answers is what the EVM says. Uniswap's factory and pool are its own published bytecode
(`tests/contracts/package.json`), the aggregator and tokens are ours (`tests/contracts/Feeds.sol`).
"""

import json
import math
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import EthereumTesterProvider, Web3

from tests.integration.feeds.served import served

# The EVM allowed a hundred times as much recursion to everybody: what is nested so deep ends the process.
sys.setrecursionlimit(1_000)

CONTRACTS = Path(__file__).parents[2] / "contracts"
FACTORY = (
    CONTRACTS / "node_modules/@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
)
GAS = 30_000_000
FEE, SPACING = 3_000, 60


class Evm:
    """Blocks are at least a second apart, and `pass_time` moves it on: ahead of this machine's clock."""

    def __init__(self):
        genesis = PyEVMBackend.generate_genesis_params({"gas_limit": 2 * GAS})
        self._tester = EthereumTester(PyEVMBackend(genesis_parameters=genesis))
        self._web3 = Web3(EthereumTesterProvider(self._tester))
        self._account = self._web3.eth.accounts[0]
        self._compiled = json.loads((CONTRACTS / "compiled.json").read_text(encoding="utf-8"))
        self._methods = {
            "eth_chainId": lambda: hex(self._web3.eth.chain_id),
            "eth_getCode": lambda address, _block: self._tester.get_code(address),
            "eth_getBlockByNumber": self._block_by_number,
            "eth_call": self._call,
        }
        self.server = None
        self.methods = []

    @property
    def block(self):
        return self._tester.get_block_by_number("latest")

    def now_ns(self):
        """The chain's own clock."""
        return self.block["timestamp"] * 10**9

    def pass_time(self, seconds):
        self._tester.time_travel(self.block["timestamp"] + seconds)
        self._tester.mine_block()

    def deploy(self, name, *arguments, compiled=None):
        compiled = compiled or self._compiled[name]
        factory = self._web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
        return self._web3.eth.contract(
            address=self.send(factory.constructor(*arguments))["contractAddress"], abi=compiled["abi"]
        )

    def send(self, call):
        sent = call.transact({"from": self._account, "gas": GAS})
        return self._web3.eth.wait_for_transaction_receipt(sent)

    def pool(self, token0, token1, *, price):
        """A Uniswap v3 pool at that price of token0 in token1, in their smallest units, and what moves it."""
        if not FACTORY.is_file():
            pytest.skip("no Uniswap contracts: `npm ci --ignore-scripts` in tests/contracts brings them")
        artifact = json.loads(FACTORY.read_text(encoding="utf-8"))
        factory = self.deploy("UniswapV3Factory", compiled=artifact)
        self.send(factory.functions.createPool(token0.address, token1.address, FEE))
        address = factory.functions.getPool(token0.address, token1.address, FEE).call()
        pool_abi = json.loads(
            (FACTORY.parents[1] / "UniswapV3Pool.sol/UniswapV3Pool.json").read_text("utf-8")
        )
        pool = self._web3.eth.contract(address=address, abi=pool_abi["abi"])
        self.send(pool.functions.initialize(_square_root(price)))
        self.send(pool.functions.increaseObservationCardinalityNext(50))
        return pool

    def tokens(self, *terms):
        """Two tokens, in the order in which a pool has them."""
        pair = [self.deploy("Token", *each) for each in terms]
        return sorted(pair, key=lambda token: int(token.address, 16))

    def move(self, mover, pool, *, price):
        square_root = _square_root(price)
        down = square_root < pool.functions.slot0().call()[0]
        self.send(mover.functions.move(pool.address, down, square_root))

    def application(self):
        application = web.Application()
        application.router.add_post("/", self._answer)
        return application

    async def _answer(self, request):
        asked = await request.json()
        self.methods.append(asked["method"])
        answer = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            answer["result"] = self._methods[asked["method"]](*asked["params"])
        except TransactionFailed as failed:
            answer["error"] = {"code": 3, "message": f"execution reverted: {failed}"}
        return web.json_response(answer)

    def _block_by_number(self, number, _whole):
        block = self._tester.get_block_by_number(number)
        return {"number": hex(block["number"]), "timestamp": hex(block["timestamp"]), "hash": block["hash"]}

    def _call(self, call, block):
        asked = {"from": self._account, "to": call["to"], "data": call["data"], "gas": GAS}
        number = block if block == "latest" else int(block, 16)
        return self._tester.call(asked, block_number=number)


def _square_root(price):
    return int(math.sqrt(price) * 2**96)


@asynccontextmanager
async def evm():
    it = Evm()
    async with served(it.application) as server:
        it.server = server
        yield it
