import Optimizers
import ReferenceImplementation
import Tensors
import Testing

/// Adam against the reference implementation in Double.
@Suite struct AdamTests {
  private let layout: ParameterLayout
  private let count = 1003

  init() {
    var layout = ParameterLayout()
    layout.append("a", .bias, Shape(3, 1))
    layout.append("b", .bias, Shape(1000))
    self.layout = layout
  }

  private func numbers(_ name: String) -> [Float] {
    let stream = RandomStream(seed: 4, purpose: name)
    return (0..<UInt64(count)).map { index in
      // Gradients of very different sizes; some are zero.
      let size = stream.integer(2 * index, below: 8)
      let value = 2 * stream.uniform(2 * index + 1) - 1
      return size == 0 ? 0 : Float(value * ReproducibleMath.power(0.1, size - 1))
    }
  }

  /// Parameters, gradients, m and v.
  private func operands(_ elements: Range<Int>, _ stores: [ParameterStore]) -> UpdateOperands {
    UpdateOperands(elements, parameters: stores[0], gradients: stores[1], states: Array(stores[2...]))
  }

  @Test func namesOfStatesAreThoseOfCheckpoints() {
    #expect(OptimizerConfiguration().rule.stateNames == ["m", "v"])
  }

  @Test(arguments: [1, 2, 7])
  func everyElementAfterEveryStep(items: Int) {
    var configuration = OptimizerConfiguration()
    configuration.weightDecay = 1e-3
    let stores = (0..<4).map { _ in ParameterStore(layout) }
    let (weights, gradients) = (stores[0], stores[1])
    for (i, value) in numbers("weights").enumerated() { weights.elements[i] = value }
    let adam = Optimizer(Adam(configuration), layout: layout)
    var reference = ReferenceAdam(count: count)
    reference.weightDecay = 1e-3
    var exact = weights.elements.map(Double.init)
    for step in 1...12 {
      for (i, value) in numbers("step \(step)").enumerated() { gradients.elements[i] = value }
      let rate = 0.01 / Double(step)
      reference.update(&exact, gradients: gradients.elements.map(Double.init), learningRate: rate)
      for item in 0..<items {
        adam.update(
          operands(item * count / items..<(item + 1) * count / items, stores), step: step, learningRate: rate)
      }
      for i in 0..<count {
        // A few roundings a step of weights up to 1 and updates up to 0.01.
        #expect(abs(Double(weights.elements[i]) - exact[i]) < 1e-6)
        let (m, v) = (reference.moments.first[i], reference.moments.second[i])
        // Gradients up to 1 come and go in m, so it keeps roundings of terms up to 0.1.
        #expect(abs(Double(stores[2].elements[i]) - m) <= 1e-6 * (abs(m) + 0.1))
        #expect(abs(Double(stores[3].elements[i]) - v) <= 1e-6 * (v + 1e-12))
      }
    }
    withExtendedLifetime(stores) {}
  }

  /// By hand: at t = 1 from zero states, m̂ = 0.1·g/0.19 and v̂ = 0.001·g²/(1 − 0.999²).
  @Test func theFirstStepByHand() {
    let stores = (0..<4).map { _ in ParameterStore(layout) }
    stores[0].elements[0] = 2
    stores[1].elements[0] = 0.5
    Optimizer(OptimizerConfiguration().rule, layout: layout).update(
      operands(0..<1, stores), step: 1, learningRate: 0.01)
    let m = 0.05 / 0.19
    let v = 0.00025 / 0.001999
    let expected = 2 * (1 - 1e-5) - 0.01 * m / (v.squareRoot() + 1e-5)
    #expect(abs(Double(stores[0].elements[0]) - expected) < 2e-7)
    withExtendedLifetime(stores) {}
  }

  @Test func elementsOutsideTheRangeStay() {
    let stores = (0..<4).map { _ in ParameterStore(layout) }
    for store in stores { for i in 0..<count { store.elements[i] = 1 } }
    Optimizer(OptimizerConfiguration().rule, layout: layout).update(
      operands(10..<20, stores), step: 3, learningRate: 0.1)
    for store in [stores[0], stores[2], stores[3]] {
      for i in 0..<count where !(10..<20).contains(i) { #expect(store.elements[i] == 1) }
    }
    #expect((10..<20).allSatisfy { stores[0].elements[$0] < 1 })
    withExtendedLifetime(stores) {}
  }

  @Test func aConstantRateIsConstant() {
    let schedule = LearningRateSchedule.constant(0.25)
    #expect([1, 2, 100_000].allSatisfy { schedule($0) == 0.25 })
  }
}
