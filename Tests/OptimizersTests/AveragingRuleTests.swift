import Optimizers
import Tensors
import Testing

/// The average of weights over any rule, bit for bit.
@Suite struct AveragingRuleTests {
  private let layout: ParameterLayout

  init() {
    var layout = ParameterLayout()
    layout.append("weight", .denseWeight, Shape(21, 1))
    self.layout = layout
  }

  private func store(_ value: (Int) -> Float) -> ParameterStore {
    let store = ParameterStore(layout)
    for i in store.elements.indices { store.elements[i] = value(i) }
    return store
  }

  @Test(arguments: OptimizerName.allCases, [1, 3])
  func theAverageIsOneMoreState(name: OptimizerName, interval: Int) {
    var configuration = OptimizerConfiguration()
    configuration.name = name
    let base = configuration.rule
    let rule = AveragingRule(base, decay: 0.75, every: interval)
    #expect(rule.stateNames == base.stateNames + ["average"])
    let (averaged, plain) = (Optimizer(rule, layout: layout), Optimizer(base, layout: layout))
    let gradients = store { Float($0) / 8 - 1 }
    let (w, alone) = (store { Float($0 + 1) }, store { Float($0 + 1) })
    // What the state holds before the first averaging must not matter.
    let states = base.stateNames.map { _ in ParameterStore(layout) } + [store { _ in .nan }]
    let statesAlone = base.stateNames.map { _ in ParameterStore(layout) }
    var expected = [Float](repeating: .nan, count: layout.elementCount)
    for step in 1...10 {
      for elements in [0..<9, 9..<10, 10..<21] {
        averaged.update(
          UpdateOperands(elements, parameters: w, gradients: gradients, states: states), step: step, learningRate: 0.01)
      }
      plain.update(
        UpdateOperands(0..<21, parameters: alone, gradients: gradients, states: statesAlone), step: step,
        learningRate: 0.01)
      let average = states[states.count - 1].elements
      for i in 0..<21 {
        if step == interval {
          expected[i] = alone.elements[i]
        } else if step % interval == 0 {
          expected[i] = 0.75 * expected[i] + 0.25 * alone.elements[i]
        }
        #expect(w.elements[i] == alone.elements[i], "\(name), element \(i)")
        #expect(average[i].bitPattern == expected[i].bitPattern, "\(name), step \(step), element \(i)")
      }
      #expect(AveragingRule.hasAverage(at: step, every: interval) == average.allSatisfy { !$0.isNaN })
    }
    #expect(!AveragingRule.hasAverage(at: 0, every: interval))
  }
}
