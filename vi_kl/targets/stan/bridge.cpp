// What Python calls of a compiled Stan program: arrays of doubles in and out, and errors as text.
//
// It is compiled after the C++ that stanc has written, which defines new_model. Functions that can fail return 0 where
// all went well; `words` then stays empty.

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <stan/io/json/json_data.hpp>
#include <stan/model/log_prob_grad.hpp>
#include <stan/model/model_base.hpp>
#include <stan/services/util/create_rng.hpp>

stan::model::model_base &new_model(stan::io::var_context &data, unsigned int seed, std::ostream *messages);

namespace {

using Model = stan::model::model_base;

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

int say(const char *text, char *words, int room) {
  std::strncpy(words, text, room - 1);
  words[room - 1] = '\0';
  return 1;
}

// Stan keeps the operations to differentiate in a stack of each thread, which the thread has to make.
void prepare_thread() { static thread_local stan::math::ChainableStack stack; }

std::vector<double> row(const double *values, long i, long length) {
  return std::vector<double>(values + i * length, values + (i + 1) * length);
}

// Text, and how much room it takes: what does not fit is asked for again with more.
int put(const std::string &text, char *out, int room) {
  if (static_cast<int>(text.size()) < room) std::strcpy(out, text.c_str());
  return text.size() + 1;
}

std::string lines(const std::vector<std::string> &names) {
  std::string text;
  for (const auto &name : names) text += name + "\n";
  return text;
}

}  // namespace

extern "C" {

// A model with its data, the text of a JSON object; nullptr where Stan refuses them.
void *stan_make(const char *json, char *words, int room) {
  prepare_thread();
  try {
    std::istringstream in(json);
    stan::json::json_data data(in);
    std::ostringstream messages;
    return &new_model(data, 1, &messages);
  } catch (const std::exception &error) {
    say(error.what(), words, room);
    return nullptr;
  }
}

void stan_delete(void *model) { delete static_cast<Model *>(model); }

int stan_dim(const void *model) { return static_cast<const Model *>(model)->num_params_r(); }

// The names of the entries of all parameters, of what the program computes too if `computed`; unconstrained ones if not
// `constrained`.
int stan_names(const void *model, int constrained, int computed, char *out, int room) {
  std::vector<std::string> names;
  const auto *m = static_cast<const Model *>(model);
  if (constrained)
    m->constrained_param_names(names, computed, computed);
  else
    m->unconstrained_param_names(names, false, false);
  return put(lines(names), out, room);
}

// A line for each parameter, and for what the program computes too if `computed`: its name, and its lengths.
int stan_shapes(const void *model, int computed, char *out, int room) {
  std::vector<std::string> names;
  std::vector<std::vector<size_t>> shapes;
  const auto *m = static_cast<const Model *>(model);
  m->get_param_names(names, computed, computed);
  m->get_dims(shapes, computed, computed);
  for (size_t i = 0; i < names.size(); i++)
    for (size_t length : shapes[i]) names[i] += " " + std::to_string(length);
  return put(lines(names), out, room);
}

// Log densities (n) at z (n, dim), with no constant left out, and their gradients (n, dim). Where Stan rejects a point
// the log density is -inf, the gradient is NaN, and `words` is what Stan says of the last such point.
void stan_log_density(const void *model, int jacobian, long n, const double *z, double *value, double *gradient,
                      char *words, int room) {
  prepare_thread();
  const auto *m = static_cast<const Model *>(model);
  const long dim = m->num_params_r();
  std::vector<int> no_integers;
  std::vector<double> slope;
  for (long i = 0; i < n; i++) {
    auto point = row(z, i, dim);
    std::ostringstream messages;
    try {
      value[i] = jacobian ? stan::model::log_prob_grad<false, true>(*m, point, no_integers, slope, &messages)
                          : stan::model::log_prob_grad<false, false>(*m, point, no_integers, slope, &messages);
      std::copy(slope.begin(), slope.end(), gradient + i * dim);
    } catch (const std::exception &error) {
      say(error.what(), words, room);
      value[i] = -std::numeric_limits<double>::infinity();
      std::fill(gradient + i * dim, gradient + (i + 1) * dim, not_a_number);
    }
  }
}

// The values (n, length) of parameters, and of what the program computes if `computed`, at z (n, dim). Each row has
// random numbers of its own, by its seed. Rows that Stan rejects are NaN.
void stan_constrain(const void *model, int computed, long n, const double *z, const unsigned int *seeds, long length,
                    double *out, char *words, int room) {
  prepare_thread();
  const auto *m = static_cast<const Model *>(model);
  const long dim = m->num_params_r();
  std::vector<int> no_integers;
  std::vector<double> values;
  for (long i = 0; i < n; i++) {
    auto point = row(z, i, dim);
    std::ostringstream messages;
    auto random = stan::services::util::create_rng(seeds[i], 1);
    std::fill(out + i * length, out + (i + 1) * length, not_a_number);
    try {
      m->write_array(random, point, no_integers, values, computed, computed, &messages);
      if (static_cast<long>(values.size()) == length) std::copy(values.begin(), values.end(), out + i * length);
    } catch (const std::exception &error) {
      say(error.what(), words, room);
    }
  }
}

// z (n, dim) of the values (n, length) of parameters. Rows outside their bounds are NaN.
void stan_unconstrain(const void *model, long n, long length, const double *values, double *z, char *words, int room) {
  prepare_thread();
  const auto *m = static_cast<const Model *>(model);
  const long dim = m->num_params_r();
  std::vector<int> no_integers;
  std::vector<double> found;
  for (long i = 0; i < n; i++) {
    auto point = row(values, i, length);
    std::ostringstream messages;
    std::fill(z + i * dim, z + (i + 1) * dim, not_a_number);
    try {
      m->unconstrain_array(point, found, &messages);
      std::copy(found.begin(), found.end(), z + i * dim);
    } catch (const std::exception &error) {
      say(error.what(), words, room);
    }
  }
}
}
