import Optimizers
import Tensors
import Testing

/// What any update rule needs: multipliers, and states of a shard.
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

  /// Scaling by a power of two is exact, so it must equal a scaled gradient bit for bit.
  @Test(arguments: OptimizerName.allCases)
  func theScaleOfGradientsScalesThem(name: OptimizerName) {
    var configuration = OptimizerConfiguration()
    configuration.name = name
    let optimizer = Optimizer(configuration.rule, layout: layout)
    let all = 0..<layout.elementCount
    func run(_ factor: Float, scale: Float?) -> [[Float]] {
      let (w, gradients) = (store(1), store(factor))
      let states = configuration.rule.stateNames.map { _ in ParameterStore(layout) }
      let operands = UpdateOperands(all, parameters: w, gradients: gradients, states: states)
      for step in 1...3 {
        if let scale {
          optimizer.update(operands, step: step, learningRate: 0.1, gradientScale: scale)
        } else {
          optimizer.update(operands, step: step, learningRate: 0.1)
        }
      }
      return withExtendedLifetime(gradients) { ([w] + states).map { Array($0.elements) } }
    }
    #expect(run(0.3, scale: 0.25) == run(0.075, scale: nil))
    #expect(run(0.3, scale: 1) == run(0.3, scale: nil))
    #expect(run(0.3, scale: 0.5) != run(0.3, scale: nil))
  }

  @Test func theConfigurationSelectsRuleAndMultipliers() {
    var configuration = OptimizerConfiguration()
    #expect(configuration.rule is Adam && configuration.multipliers.isEmpty)
    configuration.name = .sgd
    #expect(configuration.rule is SGD && configuration.rule.stateNames == ["momentum"])
    configuration.averageDecay = 0.99
    #expect(configuration.rule is AveragingRule && configuration.rule.stateNames == ["momentum", "average"])
    configuration.decaysBiases = false
    let noDecay = UpdateMultipliers(weightDecay: 0)
    #expect(configuration.multipliers == [.bias: noDecay, .scale: noDecay, .shift: noDecay])
    configuration.biasLearningRateFactor = 64
    let fast = UpdateMultipliers(learningRate: 64, weightDecay: 0)
    #expect(configuration.multipliers == [.bias: fast, .scale: noDecay, .shift: fast])
    configuration.decaysBiases = true
    let fastOnly = UpdateMultipliers(learningRate: 64)
    #expect(configuration.multipliers == [.bias: fastOnly, .shift: fastOnly])
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
