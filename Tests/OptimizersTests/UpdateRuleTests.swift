import Optimizers
import Tensors
import Testing

/// What update rules other than Adam need: any number of states, multipliers, shards.
@Suite struct UpdateRuleTests {
  /// Stochastic gradient descent with decoupled weight decay: a rule without states.
  private struct PlainDescent: UpdateRule {
    let stateNames: [String] = []
    let weightDecay: Double

    func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep) {
      let kept = Float(1 - weightDecay * step.weightDecayMultiplier)
      let rate = Float(step.learningRate)
      for i in elements { operands.parameters[i] = kept * operands.parameters[i] - rate * operands.gradients[i] }
    }
  }

  /// Any rule with one more state, a moving average of the weights.
  private struct Averaging<Base: UpdateRule>: UpdateRule {
    let base: Base
    var stateNames: [String] { base.stateNames + ["average"] }

    func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep) {
      base.update(elements, of: operands, at: step)
      let average = operands.state(base.stateNames.count)
      let kept: Float = step.number == 1 ? 0 : 0.75
      for i in elements { average[i] = kept * average[i] + (1 - kept) * operands.parameters[i] }
    }
  }

  private let layout: ParameterLayout

  init() {
    var layout = ParameterLayout()
    layout.append("conv.weight", .convolutionWeight, Shape(1, 1, 3, 4))
    layout.append("conv.bias", .bias, Shape(4))
    layout.append("norm.weight", .scale, Shape(4))
    layout.append("norm.bias", .shift, Shape(4))
    layout.append("head.weight", .denseWeight, Shape(2, 4))
    self.layout = layout
  }

  /// A store whose elements are 1, 2, … times a factor.
  private func store(_ factor: Float) -> ParameterStore {
    let store = ParameterStore(layout)
    for i in store.elements.indices { store.elements[i] = Float(i + 1) * factor }
    return store
  }

  @Test func multipliersApplyToTheirKinds() {
    let multipliers: [ParameterKind: UpdateMultipliers] = [
      .bias: UpdateMultipliers(learningRate: 2, weightDecay: 0), .scale: UpdateMultipliers(weightDecay: 0),
      .shift: UpdateMultipliers(weightDecay: 0),
    ]
    // Powers of two, so that every product is exact.
    let optimizer = Optimizer(PlainDescent(weightDecay: 0.25), layout: layout, multipliers: multipliers)
    let (w, g) = (store(1), store(0.5))
    for elements in [0..<7, 7..<14, 14..<21, 21..<32] {
      optimizer.update(
        UpdateOperands(elements, parameters: w, gradients: g, states: []), step: 1, learningRate: 0.5)
    }
    for parameter in layout.parameters {
      let (rate, kept): (Float, Float) =
        switch parameter.kind {
        case .bias: (1, 1)
        case .scale, .shift: (0.5, 1)
        default: (0.5, 0.75)
        }
      for i in parameter.range {
        let value = Float(i + 1)
        #expect(w.elements[i] == kept * value - rate * (0.5 * value), "\(parameter.name), element \(i)")
      }
    }
  }

  /// Records which ranges a rule is called with.
  private final class Calls: UpdateRule, @unchecked Sendable {
    let stateNames: [String] = []
    var ranges: [Range<Int>] = []
    func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep) { ranges.append(elements) }
  }

  @Test func aRuleIsCalledOncePerRangeOfEqualMultipliers() {
    let (w, g) = (store(1), store(1))
    func ranges(_ multipliers: [ParameterKind: UpdateMultipliers]) -> [Range<Int>] {
      let calls = Calls()
      Optimizer(calls, layout: layout, multipliers: multipliers).update(
        UpdateOperands(3..<30, parameters: w, gradients: g, states: []), step: 1, learningRate: 1)
      return calls.ranges
    }
    #expect(ranges([:]) == [3..<30])
    #expect(ranges([.bias: UpdateMultipliers(), .scale: UpdateMultipliers()]) == [3..<30])
    let noDecay = UpdateMultipliers(weightDecay: 0)
    #expect(ranges([.bias: noDecay, .scale: noDecay, .shift: noDecay]) == [3..<12, 12..<24, 24..<30])
  }

  @Test func anAverageOfWeightsIsOneMoreState() {
    let rule = Averaging(base: Adam(OptimizerConfiguration()))
    #expect(rule.stateNames == ["m", "v", "average"])
    let (averaged, plain) = (Optimizer(rule, layout: layout), Optimizer(rule.base, layout: layout))
    let g = store(0.125)
    let (w, alone) = (store(1), store(1))
    let states = (0..<3).map { _ in ParameterStore(layout) }
    let states2 = (0..<2).map { _ in ParameterStore(layout) }
    var expected = [Float](repeating: 0, count: layout.elementCount)
    for step in 1...4 {
      let all = 0..<layout.elementCount
      averaged.update(
        UpdateOperands(all, parameters: w, gradients: g, states: states), step: step, learningRate: 0.01)
      plain.update(
        UpdateOperands(all, parameters: alone, gradients: g, states: states2), step: step, learningRate: 0.01)
      for i in all {
        expected[i] = step == 1 ? alone.elements[i] : 0.75 * expected[i] + 0.25 * alone.elements[i]
        #expect(w.elements[i] == alone.elements[i] && states[2].elements[i] == expected[i])
      }
    }
  }

  /// A shard holds the states of elements 10 to 19 at index 3 and on.
  @Test func aShardIsAddressedByItsOffset() {
    let optimizer = Optimizer(OptimizerConfiguration().rule, layout: layout)
    let g = store(0.125)
    let (whole, sharded) = (store(1), store(1))
    let states = (0..<2).map { _ in ParameterStore(layout) }
    var shardLayout = ParameterLayout()
    shardLayout.append("shard", .bias, Shape(14))
    let shards = (0..<2).map { _ in ParameterStore(shardLayout) }
    for step in 1...3 {
      optimizer.update(
        UpdateOperands(10..<20, parameters: whole, gradients: g, states: states), step: step, learningRate: 0.1)
      optimizer.update(
        UpdateOperands(10..<20, parameters: sharded, gradients: g, states: shards, stateOffset: 3), step: step,
        learningRate: 0.1)
    }
    #expect(whole.elements.elementsEqual(sharded.elements))
    for (state, shard) in zip(states, shards) {
      #expect(state.elements[10..<20].elementsEqual(shard.elements[3..<13]))
      #expect(shard.elements[..<3].allSatisfy { $0 == 0 } && shard.elements[13...].allSatisfy { $0 == 0 })
    }
  }
}
