import Tensors

// What a convolution reads, brought into padded scratch memory in one linear pass over an image.

/// Writes z = max(0, scale·x + shift), or x itself, into a padded image.
///
/// - Parameters:
///   - input: x and how z comes from it.
///   - offset: The first element of the image in x.
///   - image: Where z goes; its border is left alone.
///   - channels: C.
func writeInput(
  _ input: ConvolutionInput, offset: Int, into image: PaddedImage, channels: Int
) {
  let x = input.activation + offset
  let rowCount = image.width * channels
  guard let map = input.normalization else {
    for y in 0..<image.height { image.row(y).update(from: x + y * rowCount, count: rowCount) }
    return
  }
  guard ChannelSlice.covers(channels: channels, imageWidth: image.width) else {
    for y in 0..<image.height {
      let (source, target) = (x + y * rowCount, image.row(y))
      for i in 0..<rowCount {
        let value = map.shift[i % channels].addingProduct(map.scale[i % channels], source[i])
        target[i] = value < 0 ? 0 : value
      }
    }
    return
  }
  forEachSlice(channels: channels, imageWidth: image.width) { slice in
    let (scale, shift) = (slice.coefficients(map.scale), slice.coefficients(map.shift))
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    for y in 0..<image.height {
      var (source, target) = (x + y &* rowCount, image.row(y))
      for _ in 0..<groups {
        for j in 0..<4 {
          let value = shift[j].addingProduct(scale[j], (source + offsets[j]).vector)
          (target + offsets[j]).store(rectified(value))
        }
        source += step
        target += step
      }
    }
  }
}

/// max(0, x), and NaN for NaN, which `pointwiseMax` would hide: a run that has diverged must show it.
@inline(__always)
func rectified(_ x: Vector) -> Vector { x.replacing(with: 0, where: x .< 0) }

/// Writes dY = (ca·g + cb·y + cc, or g) (+ addend) into a padded image, keeps it for a skip connection and adds it up per
/// channel if asked.
///
/// - Parameters:
///   - operand: What dY comes from.
///   - offset: The first element of the image in all its tensors.
///   - image: Where dY goes; its border is left alone.
///   - channels: K.
///   - biasGradient: K sums that dY is added to; nil without a bias.
func writeOutputGradient(
  _ operand: ConvolutionOutputGradient, offset: Int, into image: PaddedImage, channels: Int,
  biasGradient: UnsafeMutablePointer<Float>?
) {
  guard ChannelSlice.covers(channels: channels, imageWidth: image.width) else {
    writeOutputGradientSlowly(
      operand, offset: offset, into: image, channels: channels, biasGradient: biasGradient)
    return
  }
  let rowCount = image.width * channels
  forEachSlice(channels: channels, imageWidth: image.width) { slice in
    let none = InlineArray<4, Vector>(repeating: Vector())
    let map = operand.normalization
    let ca = map.map { slice.coefficients($0.gradientScale) } ?? none
    let cb = map.map { slice.coefficients($0.activationScale) } ?? none
    let cc = map.map { slice.coefficients($0.constant) } ?? none
    let y = map?.activation
    let (addend, stored) = (operand.addend, operand.stored)
    let (offsets, step, groups) = (slice.offsets, slice.step, slice.groupsPerRow)
    var sums = none
    for row in 0..<image.height {
      var (i, target) = (offset &+ row &* rowCount, image.row(row))
      for _ in 0..<groups {
        for j in 0..<4 {
          let at = i &+ offsets[j]
          var value = (operand.gradient + at).vector
          if let y { value = cc[j].addingProduct(cb[j], (y + at).vector).addingProduct(ca[j], value) }
          if let addend { value += (addend + at).vector }
          if let stored { (stored + at).store(value) }
          (target + offsets[j]).store(value)
          sums[j] += value
        }
        i &+= step
        target += step
      }
      if let biasGradient, (row + 1).isMultiple(of: slice.rowsPerSum) || row == image.height - 1 {
        slice.add(sums, to: biasGradient)
        sums = none
      }
    }
  }
}

private func writeOutputGradientSlowly(
  _ operand: ConvolutionOutputGradient, offset: Int, into image: PaddedImage, channels: Int,
  biasGradient: UnsafeMutablePointer<Float>?
) {
  for row in 0..<image.height {
    for pixel in 0..<image.width {
      let i = offset + (row * image.width + pixel) * channels
      let target = image.row(row) + pixel * image.pixelStride
      for k in 0..<channels {
        var value = operand.gradient[i + k]
        if let map = operand.normalization {
          value = map.constant[k].addingProduct(map.activationScale[k], map.activation[i + k])
            .addingProduct(map.gradientScale[k], value)
        }
        if let addend = operand.addend { value += addend[i + k] }
        operand.stored?[i + k] = value
        target[k] = value
        biasGradient?[k] += value
      }
    }
  }
}
