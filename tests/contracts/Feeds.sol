// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.28;

// What tests of feeds put on a local chain beside real contracts. `compiled.json` holds what solc 0.8.28 makes of
// it, optimised for 200 runs, for the Paris EVM, without metadata.

/// As much of Chainlink's AggregatorV3Interface as is read; anybody may tell a round.
contract Aggregator {
    uint8 public decimals;
    string public description;
    uint80 private _round;
    int256 private _answer;
    uint256 private _updatedAt;

    constructor(uint8 decimals_, string memory description_) {
        decimals = decimals_;
        description = description_;
    }

    function tell(uint80 round, int256 answer, uint256 updatedAt) external {
        (_round, _answer, _updatedAt) = (round, answer, updatedAt);
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return (_round, _answer, _updatedAt, _updatedAt, _round);
    }
}

/// A name and decimals; nobody owns any.
contract Token {
    string public symbol;
    uint8 public decimals;

    constructor(string memory symbol_, uint8 decimals_) {
        symbol = symbol_;
        decimals = decimals_;
    }

    function balanceOf(address) external pure returns (uint256) {
        return 0;
    }
}

interface Pool {
    function swap(address, bool, int256, uint160, bytes calldata) external returns (int256, int256);
}

/// Moves the price of a Uniswap v3 pool that has no liquidity: a swap up to a limit that costs nothing.
contract Mover {
    function move(Pool pool, bool down, uint160 sqrtPriceX96) external {
        pool.swap(address(this), down, 1, sqrtPriceX96, "");
    }

    function uniswapV3SwapCallback(int256, int256, bytes calldata) external pure {}
}
