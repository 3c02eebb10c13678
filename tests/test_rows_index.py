"""Which test checks which claim of the lectures: none without, none lost.

O: optimizers. L: learning rates. I: initialisation. N: norms, activations, losses, gradients. R: regularisation.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = {
    "O1": "solvers_rows: o1_descent_with_step_one_over_l_keeps_both_bounds_for_1000_steps "
    "o1_a_step_beyond_two_over_l_diverges",
    "O2": "solvers_rows: o2_the_error_falls_by_one_minus_one_over_kappa_a_step",
    "O3": "rows_optimizers: o03_the_mean_of_single_sample_gradients_is_the_full_gradient "
    "o03_cyclic_and_random_order_both_descend_on_curves_of_their_own",
    "O4": "rows_optimizers: o04_a_minibatch_gradient_is_unbiased o04_the_cost_of_a_step_is_linear_in_the_batch_size",
    "O5": "rows_optimizers: o05_a_multiplier_of_the_rate_is_lambdalr; "
    "schedules: row_o5_a_schedule_is_the_function_that_torch_lambda_lr_wants",
    "O6": "rows_optimizers: o06_the_effective_rate_of_momentum_is_eta_over_one_minus_beta",
    "O7": "rows_optimizers: o07_both_momenta_agree_at_a_constant_rate_and_part_after_a_rate_step",
    "O8": "rows_optimizers: o08_heavy_ball_is_momentum_b_and_beats_gradient_descent_five_times",
    "O9": "rows_optimizers: o09_a_running_mean_forgets_to_one_over_e",
    "O10": "rows_optimizers: o10_looking_ahead_needs_no_more_iterations_than_the_heavy_ball "
    "o10_at_its_own_best_constants_the_heavy_ball_wins_on_a_quadratic o10_algorithm_6_as_printed_diverges",
    "O11": "rows_optimizers: o11_the_change_of_variables_is_the_look_ahead_and_torch",
    "O12": "rows_adaptive: o12_adagrad_steps_shrink_as_one_over_root_t",
    "O13": "rows_adaptive: o13_epsilon_inside_or_outside_is_four_digits_of_the_first_step",
    "O14": "rows_adaptive: o14_rmsprop_with_epsilon_inside_tends_to_a_step_of_eta",
    "O15": "rows_adaptive: o15_rmsprop_with_epsilon_outside_is_that_of_torch",
    "O16": "rows_adaptive: o16_epsilon_twice_is_epsilon_inside_doubled",
    "O17": "rows_adaptive: o17_rmsprop_with_momentum_is_torch_up_to_the_place_of_epsilon",
    "O18": "rows_adaptive: o18_adadelta_is_that_of_torch_and_ignores_the_scale_of_the_loss",
    "O19": "rows_adaptive: o19_without_bias_correction_the_first_step_is_three_times_too_long",
    "O20": "rows_adaptive: o20_adam_is_within_4_ulp_a_step_of_the_float64_equation "
    "o20_adam_in_float32_stays_with_torch_for_1000_steps o20_the_first_step_of_adam_is_eta_in_the_sign_of_the_gradient",
    "O21": "rows_adaptive: o21_s3_prints_adam_with_the_betas_swapped",
    "O22": "rows_adaptive: o22_adam_of_g_squared_cannot_follow_a_negative_gradient",
    "O23": "rows_adaptive: o23_adamax_nadam_and_adamw_are_those_of_torch o23_adamw_is_not_adam_with_an_l2_penalty",
    "O24": "rows_decay_and_clip: o24_three_conventions_of_weight_decay_map_exactly; "
    "penalties: o24_three_conventions_of_l2_map_exactly_on_sgd",
    "O25": "solvers_rows: o25_the_natural_gradient_does_not_see_units_and_sgd_does "
    "o25_descent_on_whitened_features_is_descent_in_the_metric_of_their_covariance",
    "O26": "solvers_rows: o26_newton_solves_a_quadratic_in_one_step "
    "o26_undamped_newton_goes_to_the_saddle_and_says_so_damped_leaves_and_plain_refuses",
    "O27": "solvers_rows: o27_conjugate_gradient_ends_in_d_iterations o27_fewer_eigenvalues_need_fewer_iterations "
    "o27_quasi_newton_needs_a_small_part_of_what_descent_needs_on_rosenbrock; "
    "solvers_optim: lbfgs_without_a_search_is_torchs_to_the_last_digits",
    "O28": "rows_decay_and_clip: o28_clipping_by_norm_by_value_by_tensor "
    "o28_clipping_survives_the_cliff_of_a_recurrent_network",
    "O29": "rows_trained: o29_where_the_claims_of_which_optimizer_hold",
    "L1": "schedules: row_l1_step_decay_and_half_cosine_with_warm_up; "
    "rows_trained: row_l1_l3_a_rate_that_falls_against_a_constant_one",
    "L2": "schedules: row_l2_keras_decay",
    "L3": "schedules: row_l3_restarts_begin_exactly_at_every_restart equals_torch equals_torch_cyclic; "
    "rows_trained: row_l1_l3_a_rate_that_falls_against_a_constant_one",
    "L4": "rows_trained: row_l4_the_ensemble_errs_less_than_its_last_snapshot_at_the_cost_of_one_run; "
    "training_ways: row_l4_snapshots_are_the_weights_at_the_end_of_each_cycle "
    "row_l4_the_ensemble_averages_probabilities_and_is_measured_beside_the_last_snapshot",
    "L5": "training_ways: row_l5_growing_the_batch_is_decaying_the_rate_within_the_band_of_seeds",
    "L6": "training_ways: row_l6_the_linter_finds_what_has_no_effect_and_nothing_else; "
    "plateau: torchs_counting_is_torchs "
    "keras_counting_acts_one_measurement_earlier_and_differs_in_threshold_and_cooldown",
    "L7": "rows_rates: row_l7_rates_of_one_over_k_go_to_zero_and_a_constant_rate_to_a_floor",
    "L8": "rows_rates: row_l8_the_bound_of_subgradient_descent_holds_and_its_floor_doubles_with_the_step "
    "row_l8_the_best_step_of_the_bound_is_r_over_g_root_k",
    "L9": "rates_symptoms: row_l9_the_symptoms_of_a_labelled_race_of_twelve_rates",
    "L10": "averages_and_parts: "
    "row_l10_numerical_and_analytic_gradients_agree_and_cost_two_evaluations_a_parameter "
    "row_l10_a_wrong_backward_is_found_and_named",
    "B1": "rows_batch: b01_twice_the_accuracy_of_a_gradient_needs_four_times_the_samples",
    "B2": "rows_batch: b02_the_curves_overlay_to_512_and_break_at_the_noise_scale; "
    "rates_symptoms: row_b2_the_rate_scales_with_the_batch "
    "row_b2_the_linear_law_keeps_the_curve_below_the_critical_batch",
    "B3": "rows_batch: b03_small_batches_end_where_the_loss_is_flatter",
    "B4": "rows_batch: b04_three_images_have_the_gradient_of_ten_where_seven_are_copies",
    "B5": "sampling: b5_balanced_minibatches_hold_the_classes_in_equal_numbers "
    "b5_sorted_samples_end_worse_than_shuffled_ones",
    "B6": "rows_batch: b06_gradient_descent_stays_in_a_shallow_well_and_noise_leaves_it_as_kramers_says",
    "B7": "rows_batch: b07_one_sample_of_three_lines_at_a_time_bounces_in_an_exact_band",
    "I1": "rows_initial: i1_zeros_send_no_gradient_to_the_weights_before i1_equal_units_stay_equal",
    "I2": "rows_initial: i2_small_weights_vanish_and_large_ones_saturate "
    "i2_the_variance_of_a_layer_is_n_in_std_squared_times_that_of_its_input",
    "I3": "rows_initial: i3_the_variance_is_kept_through_ten_tanh_layers i3_the_misprint_vanishes "
    "i3_sigmoid_wants_four_times_as_much",
    "I4": "rows_initial: i4_he_keeps_the_mean_square_that_one_over_n_halves_in_each_layer",
    "I5": "rows_initial: i5_singular_values_are_one i5_lsuv_has_unit_variance_after_one_pass",
    "I6": "rows_initial: i6_zero_biases_are_harmless_and_alexnets_ones_keep_every_unit_alive",
    "I7": "rows_initial: i7_random_matrices_have_full_rank; "
    "rows_parts: i7_a_mask_on_random_weights_classifies_nine_of_ten_digits",
    "I8": "preprocess: descent_is_quicker_where_the_inputs_are_conditioned",
    "N1": "rows_blocks: n1_n3_a_norm_is_its_equation_forward_and_backward "
    "n1_running_statistics_at_test_and_the_identity_recovered "
    "n1_a_bias_before_batch_norm_is_left_out_for_it_would_do_nothing n1_batch_norm_allows_five_times_the_rate "
    "n1_batch_norm_makes_the_scale_of_the_weights_matter_less",
    "N2": "rows_parts: n2_with_batch_norm_the_gradient_says_more_of_what_a_step_brings",
    "N3": "rows_blocks: n1_n3_a_norm_is_its_equation_forward_and_backward "
    "n3_rms_norm_is_torchs_where_both_mean_the_same n3_group_norm_does_not_care_for_the_size_of_the_batch",
    "N4": "rows_blocks: n4_the_derivative_is_the_lectures n4_maxout_swish_and_tanh; rows_parts: "
    "n4_relu_is_quicker_than_tanh_though_not_six_times_and_six_times_quicker_than_sigmoid; "
    "rows_initial: i6_zero_biases_are_harmless_and_alexnets_ones_keep_every_unit_alive",
    "N5": "rows_blocks: n5_inputs_of_one_sign_move_all_weights_of_a_unit_one_way",
    "N6": "rows_blocks: n6_a_deep_linear_net_is_one_matrix_of_the_rank_of_its_narrowest "
    "n6_a_linear_autoencoder_finds_the_principal_subspace",
    "N7": "losses: losses_equal_torchs_forward_and_backward n7_gradients_are_those_of_finite_differences "
    "n7_the_margin_losses_in_closed_form_and_the_misprint",
    "N8": "losses: n8_squared_error_on_a_saturated_output_hardly_moves",
    "N9": "losses: n9_logits_of_ten_thousand_stay_finite "
    "n9_cross_entropy_is_unmoved_by_a_shift_and_is_logsumexp_minus_the_right_logit",
    "N10": "rows_parts: n10_the_rules_of_backpropagation_give_autograds_gradients "
    "n10_a_jacobian_in_denominator_layout_is_the_transpose_and_products_of_it_are_gradients",
    "N11": "rows_blocks: n11_the_gradient_of_a_quadratic_form "
    "n11_a_skip_connection_keeps_the_gradient_through_fifty_layers",
    "R1": "rows_classical: row_r1_ridge_by_descent_is_the_closed_form_and_its_norm_falls",
    "R2": "rows_classical: row_r2_the_test_error_of_degree_14_is_a_u_over_the_strength_of_ridge",
    "R3": "rows_classical: row_r3_degree_two_tests_best_and_the_training_error_only_falls",
    "R4": "rows_classical: row_r4_weight_decay_where_features_outnumber_samples",
    "R5": "penalties: r5_the_proximal_step_gives_exact_zeros_and_scikit_learns_lasso "
    "r5_pruning_four_fifths_and_training_on_costs_little",
    "R6": "penalties: r6_a_pull_ends_at_its_fixed_point_and_a_tie_in_the_middle "
    "activations_are_seen_by_name_and_every_call_counts",
    # whole runs: ravine lab mnist-dropout, dropout-bands, practical-2, augmentation, label-smoothing, adversarial;
    # what came of them is in docs/lab.md, their parts are tested here
    "R7": "lab: the_net_of_the_six_regularisers_differs_by_dropout_alone_and_shows_rates "
    "a_late_penalty_does_nothing_before_its_time_and_much_after "
    "row_r7_the_published_net_has_its_data_its_noise_and_its_recipe",
    "R8": "lab: an_arm_is_its_recipe_over_the_seeds every_experiment_says_what_it_claims_and_how",
    "R9": "penalties: r9_rows_and_whole_parameters_stay_in_their_balls",
    "R10": "noise_layers: r10_keep_and_drop_are_two_names_of_one_share "
    "r10_inverted_and_standard_dropout_differ_by_the_share_kept_alone r10_the_mean_of_training_is_the_output_at_test",
    "R11": "lab: an_arm_is_its_recipe_over_the_seeds every_experiment_says_what_it_claims_and_how",
    "R12": "rows_counts: row_r12_the_best_weights_are_restored_exactly_and_err_less_than_the_last "
    "row_r12_patience_spends_less_and_keeps_the_same_best",
    "R13": "augment: where_pixels_go labels_survive shear_stretch_and_lens_move_what_lies_off_the_centre; "
    "lab: every_experiment_says_what_it_claims_and_how",
    "R14": "noise_layers: r14_noise_on_the_inputs_of_a_linear_model_is_ridge; augment: noise_is_ridge_regression",
    "R15": "lab: row_r15_the_fast_gradient_sign_is_its_equation_and_stays_in_the_box",
    "R16": "losses: r16_the_two_conventions_of_label_smoothing; lab: surplus_is_confidence_less_accuracy",
    "R17": "transfer: r17_a_hundred_labels_are_worth_more_after_other_digits; "
    "multitask: the_joint_loss_is_the_weighted_sum_of_torchs learned_weights_step_as_torch_does",
    "R18": "ensembles: r18_errors_of_known_correlation_average_as_the_formula_says "
    "r18_the_variance_of_a_mean_of_independent_predictors_is_one_over_their_number "
    "r18_trained_members_gain_what_their_correlation_elsewhere_predicts "
    "r18_members_of_a_regression_gain_it_in_their_squared_error",
    "R19": "rows_learning: r19_bias_variance_and_noise_add_up_to_the_error_on_new_targets "
    "r19_simple_fits_are_biased_and_rich_ones_vary r19_the_error_of_estimation_falls_as_one_over_the_root_of_n "
    "r19_overfitting_shows_in_the_size_of_the_weights",
    "R20": "evaluation: r20_each_of_800_examples_lies_in_exactly_one_of_four_folds_of_200 "
    "r20_choosing_makes_an_estimate_look_better_than_it_is; "
    "folds: folds_as_lanes_give_what_each_fold_alone_gives; groups: each_group_is_held_out_in_exactly_one_fold",
    "R21": "rows_classical: row_r21_the_contrast_of_distances_vanishes_with_the_dimension "
    "row_r21_neighbours_by_k_and_distance_on_small_photographs",
    "R22": "rows_classical: row_r22_a_linear_classifier_fails_on_xor_and_is_perfect_in_polar_coordinates "
    "row_r22_the_rows_of_a_softmax_classifier_are_templates",
    "R23": "lab: row_r23_every_difficulty_changes_the_images_and_no_label",
    "R24": "rows_learning: r24_the_likelihood_of_a_coin_and_the_theta_that_makes_it_largest "
    "r24_the_mean_loss_is_the_log_likelihood_and_descent_on_it_ends_at_the_maximum "
    "r24_the_chain_rule_of_probability_holds_for_any_order_and_dependent_events",
    "R25": "rows_classical: row_r25_least_squares_is_the_closed_form_and_a_singular_matrix_is_caught",
    "R26": "rows_counts: row_r26_an_mlp_has_the_sum_of_n_plus_one_times_m "
    "row_r26_the_net_of_xor_has_nine_parameters_with_one_output_and_learns_it "
    "row_r26_vgg_has_its_published_count row_r26_resnet_20_and_56_of_cifar_have_their_published_counts "
    "row_r26_our_resnet_word_is_counted_by_the_same_formula "
    "row_r26_recurrent_layers_share_their_weights_over_time",
    "R27": "reproduction: row_r27_a_run_is_reproduced_to_the_bit_and_the_report_says_how "
    "row_r27_what_differs_is_dated_and_its_cause_is_looked_for",
}
DECKS = {  # the rows that are claimed to work
    "O": range(1, 30),
    "L": range(1, 11),
    "B": range(1, 8),
    "I": range(1, 9),
    "N": range(1, 12),
    "R": range(1, 28),
}


@cache
def functions(file: str) -> dict[str, ast.FunctionDef]:
    """The functions of tests/test_<file>.py by name."""
    body = ast.parse((HERE / f"test_{file}.py").read_text()).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def checks_of(file: str) -> dict[str, ast.FunctionDef]:
    """The tests among them by their names without "test_"."""
    found = functions(file)
    return {name.removeprefix("test_"): node for name, node in found.items() if name.startswith("test_")}


def named(row: str) -> list[tuple[str, str]]:
    """The row's tests: (file, name)."""
    files = [part.split(":") for part in ROWS[row].split(";")]
    return [(file.strip(), name) for file, names in files for name in names.split()]


def test_every_row_is_here() -> None:
    assert [*ROWS] == [f"{deck}{n}" for deck, numbers in DECKS.items() for n in numbers]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_s_tests_exist_and_can_fail(row: str) -> None:
    for file, name in named(row):
        assert name in checks_of(file), f"{row}: tests/test_{file}.py has no test_{name}"
        assert not skips(checks_of(file)[name]), f"{row}: test_{name} is never run"
        assert can_fail(checks_of(file)[name], file), f"{row}: test_{name} asserts nothing"


def skips(test: ast.FunctionDef) -> bool:
    return any("skip" in ast.unparse(mark) for mark in test.decorator_list)


def can_fail(test: ast.FunctionDef, file: str) -> bool:
    """Whether it, or a function of its file that it calls, asserts something."""
    called = [ast.unparse(node.func) for node in ast.walk(test) if isinstance(node, ast.Call)]
    return (
        any(isinstance(node, ast.Assert) for node in ast.walk(test))
        or any(word in name for name in called for word in ("assert_", "raises"))
        or any(can_fail(functions(file)[name], file) for name in called if name in functions(file))
    )


def test_no_test_of_a_row_is_missing_here() -> None:
    known = {name for row in ROWS for _, name in named(row)}
    for path in HERE.glob("test_*.py"):
        for name in checks_of(path.stem.removeprefix("test_")):
            row = re.match(r"(?:row_)?([a-z])0*(\d+)_", name)
            named_here = row is not None and f"{row[1].upper()}{row[2]}" in ROWS
            assert name in known or not named_here, f"{path.name}: which row is test_{name} of?"
